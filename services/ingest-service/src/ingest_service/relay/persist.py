"""Doing a step again and again until it works, and saying meanwhile why it does not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from millrace_ports.errors import ClosedError, InvalidRecordError, PortError
from millrace_runtime.clock import Clock
from millrace_runtime.logs import get_logger

log = get_logger(__name__)

LONGEST_PAUSE_S: Final = 30.0
SILENT_S: Final = 5.0
"""A step under way for longer is a trouble, though nothing has failed yet."""

_T = TypeVar("_T")


class StoppedError(Exception):
    """A stop was asked for while a step kept failing; it was not done."""


class Persistence:
    """Makes attempts until one works, for ever: one begins 1, 2, 4, … 30 s after the last one began, or at once
    when that took longer.

    Args:
        clock: measures how long a step takes.
        stop: ends the waiting.
        failed: told the name of a step at each failure.
    """

    def __init__(self, clock: Clock, stop: asyncio.Event, failed: Callable[[str], None]) -> None:
        self._clock = clock
        self._stop = stop
        self._failed = failed
        self._troubles: dict[str, str] = {}
        self._begun: dict[str, float] = {}

    async def until_done(self, step: str, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """What `attempt` returns at last; `step` names it to people.

        Raises InvalidRecordError, which no repeat would mend, ClosedError, and StoppedError.
        """
        failures = 0
        while True:
            began = self._begun[step] = self._clock.monotonic()
            try:
                done = await attempt()
            except (InvalidRecordError, ClosedError):
                raise
            except PortError as error:
                failures += 1
                self._failed(step)
                self._troubles[step] = f"{step} fails: {error}"
                log.warning(
                    "relay_step_failed",
                    step=step,
                    error=str(error),
                    error_type=type(error).__name__,
                    failures=failures,
                )
            else:
                self._troubles.pop(step, None)
                return done
            finally:
                self._begun.pop(step, None)
            next_at = began + min(2.0 ** (failures - 1), LONGEST_PAUSE_S)
            await self._pause(next_at - self._clock.monotonic())

    def trouble(self) -> str:
        """Why something does not work now, empty when everything does."""
        now = self._clock.monotonic()
        late = [
            f"{step} has no answer for {now - begun:.0f} s"
            for step, begun in self._begun.items()
            if now - begun > SILENT_S and step not in self._troubles
        ]
        return "; ".join([*self._troubles.values(), *late])

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), seconds)
        if self._stop.is_set():
            raise StoppedError
