from datetime import UTC, datetime, timedelta, timezone

import pytest

from millrace_runtime.clock import SYSTEM_CLOCK, Clock
from millrace_testkit.clock import ManualClock


def test_system_clock_tells_one_time_in_two_forms() -> None:
    before = SYSTEM_CLOCK.now_ms()
    now = SYSTEM_CLOCK.now()
    after = SYSTEM_CLOCK.now_ms()
    assert now.utcoffset() == timedelta(0)
    assert before <= now.timestamp() * 1000 < after + 1


def test_system_clocks_do_not_go_back() -> None:
    assert SYSTEM_CLOCK.monotonic() <= SYSTEM_CLOCK.monotonic()
    assert SYSTEM_CLOCK.boottime() <= SYSTEM_CLOCK.boottime()


def test_manual_clock_advances_every_clock_by_the_same_time() -> None:
    clock = ManualClock(datetime(2026, 3, 5, 23, 59, 59, 500_000, tzinfo=UTC))
    monotonic, boottime = clock.monotonic(), clock.boottime()
    clock.advance(0.5)
    assert clock.now() == datetime(2026, 3, 6, tzinfo=UTC)
    assert clock.now_ms() == int(datetime(2026, 3, 6, tzinfo=UTC).timestamp() * 1000)
    assert clock.monotonic() - monotonic == pytest.approx(0.5)
    assert clock.boottime() - boottime == pytest.approx(0.5)


def test_setting_the_wall_clock_back_leaves_monotonic_time_alone() -> None:
    clock = ManualClock(10_000)
    monotonic = clock.monotonic()
    clock.set_ms(5_000)
    assert (clock.now_ms(), clock.monotonic()) == (5_000, monotonic)


def test_manual_clock_takes_any_time_zone_but_no_naive_datetime() -> None:
    shanghai = timezone(timedelta(hours=8))
    assert ManualClock(datetime(2026, 3, 5, 8, tzinfo=shanghai)).now() == datetime(2026, 3, 5, tzinfo=UTC)
    with pytest.raises(ValueError, match="naive"):
        ManualClock(datetime(2026, 3, 5))  # noqa: DTZ001 the mistake under test
    with pytest.raises(ValueError, match="forward"):
        ManualClock().advance(-1)


def test_both_are_clocks() -> None:
    clocks: list[Clock] = [SYSTEM_CLOCK, ManualClock()]
    assert all(clock.now_ms() > 0 for clock in clocks)
