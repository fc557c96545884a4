"""Beginning and ending a driver's client in bounded time, whatever it is waiting for.

aiokafka's own stop() waits for brokers that may be away, and leaves tasks and connections behind when it is
cancelled. What is done here to the private parts of aiokafka 0.14 is all that there is of it in this package.
"""

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Any

from aiokafka.errors import KafkaError

_CONNECTED_WITHIN_S = 1.0
_STOPPED_WITHIN_S = 5.0
_ENDED_WITHIN_S = 2.0


async def start(driver: Any) -> None:
    """Start an AIOKafkaProducer or AIOKafkaConsumer; when cancelled, not in the middle of its first connection,
    which it would leave open."""
    starting = asyncio.ensure_future(driver.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait({starting}, timeout=_CONNECTED_WITHIN_S)
        await _cancel([starting])
        raise


async def abandon_producer(driver: Any) -> None:
    """End an AIOKafkaProducer with whatever it still holds: stop() would first deliver it."""
    driver._closed = True
    sender = driver._sender.sender_task
    if sender is not None:
        sender.cancel()
    await _close(driver.client)
    if sender is not None:
        await _cancel([sender])  # it waits for its requests, which have ended with their connections
    await _close(driver.client)


async def stop_consumer(driver: Any) -> None:
    """End an AIOKafkaConsumer, and tell the group so if it can be reached."""
    await _end(driver.stop(), _STOPPED_WITHIN_S)
    coordinator, fetcher = driver._coordinator, driver._fetcher
    tasks = []
    if coordinator is not None:
        tasks += [
            coordinator._coordination_task,
            coordinator._heartbeat_task,
            coordinator._commit_refresh_task,
        ]
    if fetcher is not None:
        tasks += [fetcher._fetch_task, *fetcher._pending_tasks]
    await _cancel([task for task in tasks if task is not None])
    await _close(driver._client)


async def _close(client: Any) -> None:
    await _end(client.close(), _ENDED_WITHIN_S)
    waiting = client._md_update_fut  # its setter is gone by now
    if waiting is not None and not waiting.done():
        waiting.set_result(False)


async def _cancel(tasks: list[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        done, _ = await asyncio.wait(tasks, timeout=_ENDED_WITHIN_S)
        for task in done:
            if not task.cancelled():
                task.exception()  # of no interest any more


async def _end(work: Awaitable[object], within_s: float) -> None:
    """Return when `work` has ended in whatever way, or was cancelled because it did not."""
    task = asyncio.ensure_future(work)
    await asyncio.wait({task}, timeout=within_s)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, KafkaError, OSError):
        await task
