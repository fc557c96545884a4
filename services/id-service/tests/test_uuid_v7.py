"""UUIDs of version 7: form, order, uniqueness (ID-29)."""

import os
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from id_service.process_bound import ForkedStateError
from id_service.uuid.v7 import UuidV7
from millrace_runtime.clock import SYSTEM_CLOCK
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_testkit.clock import ManualClock


def test_has_the_layout_of_rfc_9562_and_the_clocks_milliseconds(clock: ManualClock) -> None:
    [text] = UuidV7(clock).take(1)

    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert parsed.int >> 80 == clock.now_ms()


def test_a_million_by_ten_threads_are_distinct_and_rise_within_each_call() -> None:
    source = UuidV7(SYSTEM_CLOCK)
    with ThreadPoolExecutor(10) as threads:
        batches = list(threads.map(source.take, [10_000] * 100))

    assert len(set().union(*batches)) == 1_000_000
    for batch in batches:
        assert batch == sorted(batch)


def test_single_calls_by_threads_are_distinct_and_rise_within_each_thread() -> None:
    source = UuidV7(SYSTEM_CLOCK)

    def draw(_: int) -> list[str]:
        return [source.take(1)[0] for _ in range(2_000)]

    with ThreadPoolExecutor(10) as threads:
        drawn = list(threads.map(draw, range(10)))

    assert len(set().union(*drawn)) == 20_000
    for ids in drawn:
        assert ids == sorted(ids)


@given(
    jumps=st.lists(st.integers(-5_000, 5_000), max_size=50), sizes=st.lists(st.integers(1, 20), max_size=50)
)
def test_rises_strictly_whatever_the_clock_does(jumps: list[int], sizes: list[int]) -> None:
    clock = ManualClock(1_767_225_600_000)
    source = UuidV7(clock)
    drawn: list[str] = []
    for jump, size in zip(jumps, sizes, strict=False):
        clock.set_ms(clock.now_ms() + jump)
        drawn += source.take(size)

    assert drawn == sorted(set(drawn))


def test_a_used_up_millisecond_borrows_the_next_one(clock: ManualClock) -> None:
    # Random bytes of all ones: the tail starts at 2^73 - 1 and grows by 2^32 a time.
    source = UuidV7(clock, lambda size: b"\xff" * size)
    [first] = source.take(1)
    source._tail = (1 << 74) - 1  # as after 2^41 ids in one millisecond

    [second] = source.take(1)

    assert second > first
    assert uuid.UUID(second).int >> 80 == clock.now_ms() + 1


@pytest.mark.parametrize("ms", [-1, 1 << 48])
def test_a_clock_outside_48_bits_is_refused(ms: int) -> None:
    with pytest.raises(ServiceError) as refused:
        UuidV7(ManualClock(ms)).take(1)
    assert refused.value.code is ErrorCode.UUID_FAILED


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_refuses_the_parents_state(clock: ManualClock) -> None:
    source = UuidV7(clock)
    child = os.fork()
    if child == 0:
        try:
            source.take(1)
        except ForkedStateError:
            os._exit(7)
        os._exit(0)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
