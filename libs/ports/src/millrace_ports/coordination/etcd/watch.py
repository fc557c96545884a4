"""Watching keys in etcd over restarts of its members, without a gap and without a repeat.

etcd sends the changes of one revision in one answer, and its watch ends when the member does. So after any end
the watch begins again, at a member that answers, with the revision after the last answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import grpc
from aetcd.rpc import kv_pb2, rpc_pb2

from millrace_ports.coordination.errors import CoordinationError, HistoryLostError
from millrace_ports.coordination.etcd.client import EtcdClient, Options
from millrace_ports.coordination.etcd.endpoints import Endpoint
from millrace_ports.coordination.etcd.names import range_end, stored_key, told_key
from millrace_ports.coordination.port import Event
from millrace_ports.errors import ClosedError

_PAUSE_S = 0.2


async def watched(client: EtcdClient, prefix: str, from_revision: int) -> AsyncGenerator[Event, None]:
    """What `Coordination.watch` promises."""
    start = stored_key(prefix)
    while True:
        try:
            async with aclosing(_answers(client, start, from_revision)) as answers:
                async for events in answers:
                    for event in events:
                        yield event
                    from_revision = events[-1].revision + 1
        except CoordinationError as error:
            if not error.retryable:
                raise
        await asyncio.sleep(_PAUSE_S)


async def _answers(
    client: EtcdClient, start: bytes, from_revision: int
) -> AsyncGenerator[Sequence[Event], None]:
    """The changes of one watch, all of one revision together; ends when the member ends it."""

    async def look(at: Endpoint, options: Options) -> tuple[Endpoint, Any, int]:
        request = rpc_pb2.RangeRequest(key=start, range_end=range_end(start), count_only=True)
        answer = await at.kv.Range(request, **options)
        return at, options["metadata"], answer.header.revision

    # A read first: it finds a member that answers and logs in. And etcd would wait without a word for a revision
    # that lies ahead, which it does when it has been restored from an older copy.
    at, metadata, latest = await client.call(look)
    if from_revision > latest + 1:
        raise HistoryLostError(from_revision)
    create = rpc_pb2.WatchCreateRequest(key=start, range_end=range_end(start), start_revision=from_revision)
    stream = at.watch.Watch(metadata=metadata)
    try:
        await stream.write(rpc_pb2.WatchRequest(create_request=create))
        while (answer := await stream.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
            if answer.compact_revision:
                raise HistoryLostError(from_revision)
            if answer.canceled:
                raise CoordinationError(
                    f"etcd at {at.place} ended a watch: {answer.cancel_reason}", retryable=True
                )
            if answer.events:
                yield [_event(event) for event in answer.events]
    except grpc.aio.AioRpcError as error:
        raise await client.explained(at, error) from error
    except asyncio.CancelledError:
        if client.closed and not _cancelled():
            raise ClosedError("coordination is closed") from None
        raise
    finally:
        stream.cancel()


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _event(event: Any) -> Event:
    deleted = event.type == kv_pb2.Event.DELETE
    return Event(told_key(event.kv.key), None if deleted else event.kv.value, int(event.kv.mod_revision))
