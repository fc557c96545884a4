"""Whether the door can store what it receives, and whether it can log (`LAKE-11`)."""

import asyncio
from dataclasses import dataclass

from ingest_service.accept.request_log import RequestLog
from millrace_ports.errors import PortError
from millrace_ports.journal import GroupCommitter
from millrace_runtime.clock import Clock

_KNOWN_GOOD_S = 1.0
_PROBE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class State:
    """Causes in words; None when the thing works."""

    journal_error: str | None
    log_error: str | None

    @property
    def error(self) -> str | None:
        """All causes, None when healthy."""
        causes = [cause for cause in (self.journal_error, self.log_error) if cause]
        return "; ".join(causes) or None


class Condition:
    """Tries out journals and log when asked, at most once a second while they work.

    So the door turns unhealthy without a POST, and healthy again by itself once writing works.
    """

    def __init__(self, journals: tuple[GroupCommitter, ...], log: RequestLog, clock: Clock) -> None:
        self._journals = journals
        self._log = log
        self._clock = clock
        self._turn = asyncio.Lock()
        self._good_until = float("-inf")

    async def state(self) -> State:
        """The state as of now, at most a second old when good."""
        async with self._turn:  # those who ask together share one trial
            known_good = self._clock.monotonic() < self._good_until
            if known_good and not self._log.error and not any(journal.error for journal in self._journals):
                return State(None, None)
            *journal_errors, log_error = await asyncio.gather(
                *(_trial(journal) for journal in self._journals), asyncio.to_thread(self._log.check)
            )
            state = State("; ".join(filter(None, journal_errors)) or None, log_error)
            self._good_until = self._clock.monotonic() + (_KNOWN_GOOD_S if state.error is None else 0.0)
            return state


async def _trial(journal: GroupCommitter) -> str | None:
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            await journal.probe()
    except TimeoutError:
        return f"journal: no answer from the disk within {_PROBE_TIMEOUT_S:g} s"
    except PortError as error:
        return str(error)
    return None
