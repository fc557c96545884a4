"""A clock that stands still until a test moves it."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ManualClock:
    """A `millrace_runtime.clock.Clock` under a test's control.

    `start` is a timezone-aware datetime or milliseconds since the epoch. All four clocks move
    together by `advance`; `set_ms` moves the wall clock alone, as an administrator or NTP would.
    """

    def __init__(self, start: datetime | int = 1_772_668_800_000) -> None:
        self._ms = _to_ms(start)
        self._monotonic_ms = 0
        self._offset_s = 1_000.0  # not zero: "the epoch of a monotonic clock is undefined" must hold

    def now_ms(self) -> int:
        return self._ms

    def now(self) -> datetime:
        return _EPOCH + timedelta(milliseconds=self._ms)

    def monotonic(self) -> float:
        return self._offset_s + self._monotonic_ms / 1000

    def boottime(self) -> float:
        return self.monotonic()

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on every clock, to the millisecond."""
        if seconds < 0:
            raise ValueError("time only passes forward; set_ms moves the wall clock back")
        passed = round(seconds * 1000)
        self._ms += passed
        self._monotonic_ms += passed

    def set_ms(self, ms: int) -> None:
        """Set the wall clock, back or forth; monotonic time and boot time do not notice."""
        self._ms = ms


def _to_ms(moment: datetime | int) -> int:
    if isinstance(moment, int):
        return moment
    if moment.tzinfo is None:
        raise ValueError("a naive datetime has no instant; give it a time zone")
    return (moment - _EPOCH) // timedelta(milliseconds=1)
