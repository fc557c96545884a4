"""The life of one process: event loop, signals, exit code."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from millrace_runtime.listen import ListenError, PortTakenError
from millrace_runtime.logs import get_logger
from millrace_runtime.settings import SettingsError

log = get_logger(__name__)

_SAME_REQUEST_S = 0.2

EX_CONFIG = 78
"""sysexits.h: something was found in an unconfigured or misconfigured state."""


class CannotGoOnError(Exception):
    """Only a person can decide how this process goes on; the text says what happened and what to do."""


def run(main: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Run `main` until it returns and give the process's exit code.

    The first SIGTERM or SIGINT sets the event handed to `main`, which then stops by itself: 0.
    A second one ends the process at once, by 128 + signal number; the same one again within 0.2 s is
    one request, since wrappers such as timeout(1) send it to the process and to its group.
    `SettingsError` is printed and gives 78; `PortTakenError`, `ListenError` and `CannotGoOnError` are
    printed and give 1; so does anything else, logged with its traceback.
    """
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_with_signals(main))
    except Exception as error:
        return _reported(error)
    return 0


def _reported(error: Exception) -> int:
    """Say why the process ends. A task group wraps what its body raises, so groups are looked into."""
    causes = list(_leaves(error))
    if all(
        isinstance(cause, SettingsError | PortTakenError | ListenError | CannotGoOnError) for cause in causes
    ):
        for cause in causes:
            print(cause, file=sys.stderr)  # noqa: T201 for the user at the terminal, not for the logs
        return EX_CONFIG if any(isinstance(cause, SettingsError) for cause in causes) else 1
    log.error("process_failed", exc_info=error)
    return 1


def _leaves(error: Exception) -> Iterator[Exception]:
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


async def _with_signals(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    first: tuple[signal.Signals, float] | None = None

    def asked(number: signal.Signals) -> None:
        nonlocal first
        if first is not None:
            if number == first[0] and loop.time() - first[1] < _SAME_REQUEST_S:
                return
            log.warning("stopped_at_once", signal=number.name)
            os._exit(128 + number)
        log.info("stop_asked", signal=number.name)
        first = number, loop.time()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked, number)
    try:
        await main(stop)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _loop_factory() -> Callable[[], Any] | None:
    """uvloop's loop where it is installed, else the standard one."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], Any] = uvloop.new_event_loop
    return factory
