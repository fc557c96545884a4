"""A start that waits for what is away: servers and services may be started in any order.

Only what may come by itself is waited for (`NotThereYetError`). Whatever somebody has to change first, such as a
wrong password or a server that is too old, ends the start at once with its own error.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Final, TypeVar

from millrace_runtime.errors import ServiceError
from millrace_runtime.logs import get_logger
from millrace_runtime.management import ManagementPort
from millrace_runtime.service import GRACE_S, PORT_OPTION, Endpoint, Service, serving
from millrace_runtime.tls import ServerTls

log = get_logger(__name__)

T = TypeVar("T")
Compose = Callable[[], AbstractAsyncContextManager[T]]

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
"""The pause between two attempts doubles from the first to the longest."""

_UNAVAILABLE: Final = 503


class NotThereYetError(Exception):
    """What a start needs is away and may come by itself. The text names the setting and says what is the matter;
    it repeats nothing of the setting's value."""


@contextmanager
def needing(setting: str) -> Iterator[None]:
    """Around a step of a start on what `setting` names: that it cannot be done now becomes NotThereYetError."""
    try:
        yield
    except Exception as error:
        if not _may_heal(error):
            raise
        raise NotThereYetError(f"{setting}: {error}") from error


async def run_when_there(
    compose: Compose[T],
    run: Callable[[T], Awaitable[None]],
    stop: asyncio.Event,
    *,
    waits: Callable[[str], None] = lambda reason: None,
) -> bool:
    """`run` inside the block that `compose` gives, which is entered again and again while that raises
    NotThereYetError; each time `waits` hears the reason.

    False when `stop` was set before it could be entered: an attempt under way is cancelled. Once inside, it is for
    `run` to obey the stop. Raises whatever else `compose` and `run` raise.
    """
    entered = False

    async def work() -> None:
        nonlocal entered
        pause = FIRST_PAUSE_S
        while True:
            try:
                async with compose() as made:
                    entered = True
                    await run(made)
                    return
            except NotThereYetError as error:
                if entered:
                    raise
                waits(str(error))
                log.warning("start_waits", reason=str(error), again_in_s=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    # One task for the whole block, so that it is left where it was entered.
    working, stopping = asyncio.create_task(work()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not entered:
            working.cancel()
        await asyncio.wait({working})
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.wait({working, stopping})
    if working.cancelled():
        return False
    working.result()
    return True


async def serve_when_there(
    compose: Compose[Service],
    endpoint: Endpoint,
    stop: asyncio.Event,
    *,
    port_option: str = PORT_OPTION,
    reflection: bool = True,
    tls: ServerTls | None = None,
    drain_s: float = 0,
    grace_s: float = GRACE_S,
) -> None:
    """Serve what `compose` gives until `stop`; while that cannot be had yet, the management port says alive and
    not ready, and why. The other ports open with the service. Arguments and errors as `serving`."""
    async with ManagementPort(endpoint.host, endpoint.management_port, port_option) as management:

        async def serve(service: Service) -> None:
            async with serving(
                service,
                endpoint,
                port_option=port_option,
                reflection=reflection,
                tls=tls,
                drain_s=drain_s,
                grace_s=grace_s,
                management=management,
            ):
                await stop.wait()

        await run_when_there(compose, serve, stop, waits=management.waits)


def _may_heal(error: Exception) -> bool:
    """Whether the same step may succeed later; the errors of ports and databases say so themselves."""
    if isinstance(error, ServiceError):
        return error.http_status == _UNAVAILABLE
    return bool(getattr(error, "retryable", False))
