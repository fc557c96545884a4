"""Time as a value that is handed in, so that no test sleeps to wait for it."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The four clocks a service may need; each answers a different question."""

    def now_ms(self) -> int:
        """Wall clock, milliseconds since the Unix epoch."""

    def now(self) -> datetime:
        """Wall clock, timezone-aware in UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back and stand still while the host sleeps: for time-outs and TTLs."""

    def boottime(self) -> float:
        """Seconds since boot that go on while the host sleeps: for leases another host also counts."""


class _SystemClock:
    """The host's clocks."""

    __slots__ = ()

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def boottime(self) -> float:
        return time.clock_gettime(_BOOTTIME)


# CLOCK_BOOTTIME is Linux only; elsewhere the monotonic clock is the nearest there is.
_BOOTTIME: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

SYSTEM_CLOCK: Clock = _SystemClock()
