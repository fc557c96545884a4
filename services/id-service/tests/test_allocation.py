"""Allocation from a row, and issuing from memory (ID-9, 13, 16, 18, 20)."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import delete, event, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from id_service.catalog.tag import Tag
from id_service.database.connect import open_engine
from id_service.database.tables import biz_tags, segment_allocations, segments
from id_service.process_bound import ForkedStateError
from id_service.segment.allocator import SegmentAllocator
from id_service.segment.ranges import IdRange
from id_service.segment.source import SegmentSource
from millrace_relational import DatabaseUrl
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_testkit.clock import ManualClock

FIRST = 1_000_000_000_000
LAST = 1_999_999_999_999

MakeAllocator = Callable[..., SegmentAllocator]


@pytest.fixture
def allocator(engine: AsyncEngine, clock: ManualClock) -> MakeAllocator:
    def make(**changed: Any) -> SegmentAllocator:
        given = {"datacenter_id": 0, "node_id": "node-1", "clock": clock}
        return SegmentAllocator(engine, **{**given, **changed})

    return make


def exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


async def row(engine: AsyncEngine) -> Any:
    async with engine.connect() as connection:
        return (await connection.execute(select(segments))).one()


async def set_row(engine: AsyncEngine, **values: Any) -> None:
    async with engine.begin() as connection:
        await connection.execute(update(segments).values(**values))


async def recorded(engine: AsyncEngine) -> list[tuple[int, int]]:
    columns = segment_allocations.c
    async with engine.connect() as connection:
        found = await connection.execute(select(columns.first_id, columns.last_id).order_by(columns.id))
        return [(first, last) for first, last in found]


async def test_the_first_allocation_makes_the_row_of_the_data_centre(
    allocator: MakeAllocator, engine: AsyncEngine, tag: Tag, clock: ManualClock
) -> None:
    assert await allocator().allocate(tag, 1) == IdRange(FIRST, FIRST + 9)

    made = await row(engine)
    assert (made.start_id, made.current_id, made.max_id) == (FIRST, FIRST + 10, LAST)
    assert (made.version, made.step, made.status, made.datacenter_id) == (1, 10, "active", 0)
    assert made.last_update_time == clock.now()


async def test_an_allocation_is_recorded_with_node_time_and_step(
    allocator: MakeAllocator, engine: AsyncEngine, tag: Tag, clock: ManualClock
) -> None:
    await allocator().allocate(tag, 11)

    async with engine.connect() as connection:
        record = (await connection.execute(select(segment_allocations))).one()
    assert (record.first_id, record.last_id, record.step_used) == (FIRST, FIRST + 19, 20)
    assert (record.node_id, record.allocated_at) == ("node-1", clock.now())


async def test_the_second_datacentre_allocates_from_its_own_block(allocator: MakeAllocator, tag: Tag) -> None:
    taken = await allocator(datacenter_id=1).allocate(tag, 1)
    assert taken == IdRange(2_000_000_000_000, 2_000_000_000_009)


async def test_the_last_ids_of_a_row_are_usable_and_nothing_beyond(
    allocator: MakeAllocator, engine: AsyncEngine, tag: Tag
) -> None:
    node = allocator()
    await node.allocate(tag, 1)
    await set_row(engine, current_id=LAST - 2)

    assert await node.allocate(tag, 1) == IdRange(LAST - 2, LAST)
    assert (await row(engine)).status == "exhausted"

    with pytest.raises(ServiceError) as refused:
        await node.allocate(tag, 1)
    assert refused.value.code is ErrorCode.SEGMENT_EXHAUSTED
    assert refused.value.details == {
        "biz_tag": "order-id",
        "datacenter_id": 0,
        "current_id": str(LAST + 1),
        "max_id": str(LAST),
    }


async def test_a_used_up_row_that_calls_itself_active_becomes_exhausted(
    allocator: MakeAllocator, engine: AsyncEngine, tag: Tag
) -> None:
    await allocator().allocate(tag, 1)
    await set_row(engine, current_id=LAST + 1)

    with pytest.raises(ServiceError):
        await allocator().allocate(tag, 1)
    assert (await row(engine)).status == "exhausted"


async def test_a_batch_that_the_row_cannot_supply_consumes_nothing(
    allocator: MakeAllocator, engine: AsyncEngine, tag: Tag
) -> None:
    source = SegmentSource(allocator())
    assert await source.take(tag, 4) == [IdRange(FIRST, FIRST + 3)]
    await set_row(engine, current_id=LAST - 4)
    before = await recorded(engine)

    with pytest.raises(ServiceError) as refused:
        await source.take(tag, 12)  # 6 held and 5 in the row

    assert refused.value.code is ErrorCode.SEGMENT_EXHAUSTED
    assert await recorded(engine) == before
    assert (await row(engine)).current_id == LAST - 4
    assert await source.take(tag, 11) == [IdRange(FIRST + 4, FIRST + 9), IdRange(LAST - 4, LAST)]


async def test_a_batch_spans_what_is_held_and_whole_new_steps(
    allocator: MakeAllocator, engine: AsyncEngine, tag: Tag
) -> None:
    source = SegmentSource(allocator())
    await source.take(tag, 3)

    assert await source.take(tag, 35) == [IdRange(FIRST + 3, FIRST + 9), IdRange(FIRST + 10, FIRST + 37)]
    assert await recorded(engine) == [(FIRST, FIRST + 9), (FIRST + 10, FIRST + 39)]


async def test_ids_in_memory_are_issued_without_the_database(
    allocator: MakeAllocator, engine: AsyncEngine, tag: Tag
) -> None:
    source = SegmentSource(allocator())
    statements: list[str] = []
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    await source.take(tag, 1)
    statements.clear()

    for offset in range(1, 10):
        assert await source.take(tag, 1) == [IdRange(FIRST + offset, FIRST + offset)]

    assert statements == []


async def test_a_cancelled_caller_leaves_the_rest_of_its_range_to_the_next(
    allocator: MakeAllocator, tag: Tag
) -> None:
    source = SegmentSource(allocator())
    caller = asyncio.create_task(source.take(tag, 1))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller

    assert await source.take(tag, 1) == [IdRange(FIRST + 1, FIRST + 1)]


async def test_close_waits_for_allocations_whose_callers_are_gone(
    allocator: MakeAllocator, engine: AsyncEngine, tag: Tag
) -> None:
    source = SegmentSource(allocator())
    caller = asyncio.create_task(source.take(tag, 1))
    await asyncio.sleep(0)
    caller.cancel()

    await source.close()

    assert await recorded(engine) == [(FIRST, FIRST + 9)]


def overtake(engine: AsyncEngine, url: DatabaseUrl, times: int) -> None:
    """Let another node take 10 ids between this engine's read and its write, so many times."""
    left = times

    async def take() -> None:
        other = open_engine(url)
        async with other.begin() as connection:
            ahead = {"current_id": segments.c.current_id + 10, "version": segments.c.version + 1}
            await connection.execute(update(segments).values(**ahead))
        await other.dispose()

    def before(_: Any, __: Any, statement: str, *___: Any) -> None:
        nonlocal left
        if statement.startswith("UPDATE segments") and left:
            left -= 1
            with ThreadPoolExecutor(1) as thread:  # this loop stands still meanwhile: the write waits for it
                thread.submit(asyncio.run, take()).result()

    event.listen(engine.sync_engine, "before_cursor_execute", before)


async def test_a_lost_race_is_tried_again_behind_the_winner(
    allocator: MakeAllocator, engine: AsyncEngine, url: DatabaseUrl, tag: Tag
) -> None:
    outcomes: list[str] = []
    node = allocator(on_outcome=outcomes.append)
    await node.allocate(tag, 1)
    overtake(engine, url, times=2)

    assert await node.allocate(tag, 1) == IdRange(FIRST + 30, FIRST + 39)
    assert outcomes == ["allocated", "lost_race", "lost_race", "allocated"]
    assert (await row(engine)).version == 4
    assert await recorded(engine) == [(FIRST, FIRST + 9), (FIRST + 30, FIRST + 39)]


async def test_a_race_lost_for_two_seconds_ends_in_an_error_after_three_retries_or_more(
    allocator: MakeAllocator, engine: AsyncEngine, url: DatabaseUrl, tag: Tag, clock: ManualClock
) -> None:
    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.advance(0.4)  # what an attempt waits at most for another writer

    pauses: list[float] = []
    started = clock.monotonic()
    await allocator().allocate(tag, 1)
    overtake(engine, url, times=1_000)

    with pytest.raises(ServiceError) as refused:
        await allocator(sleep=sleep, jitter=lambda: 0.5).allocate(tag, 1)

    assert refused.value.code is ErrorCode.SEGMENT_ALLOCATE_FAILED
    assert len(pauses) >= 3
    assert pauses[:3] == [0.001, 0.002, 0.004]
    assert clock.monotonic() - started <= 2.0


async def test_a_row_that_went_back_gives_nothing_until_it_is_raised_above_the_mark(
    allocator: MakeAllocator, engine: AsyncEngine, tag: Tag
) -> None:
    node = allocator()
    for _ in range(3):
        await node.allocate(tag, 1)
    async with engine.begin() as connection:  # a backup from before the last two allocations
        await connection.execute(delete(segment_allocations).where(segment_allocations.c.first_id > FIRST))
        await connection.execute(update(segments).values(current_id=FIRST + 10, version=1))

    for _ in range(2):
        with pytest.raises(ServiceError, match="behind what was allocated"):
            await node.allocate(tag, 1)
    await set_row(engine, current_id=FIRST + 30)

    assert await node.allocate(tag, 1) == IdRange(FIRST + 30, FIRST + 39)


async def test_a_range_on_record_is_refused_by_the_database_itself(
    allocator: MakeAllocator, engine: AsyncEngine, tag: Tag
) -> None:
    await allocator().allocate(tag, 1)
    await set_row(engine, current_id=FIRST + 5)

    with pytest.raises(ServiceError) as refused:
        await allocator().allocate(tag, 1)  # a node started after the edit: it has no mark

    assert refused.value.code is ErrorCode.SEGMENT_ALLOCATE_FAILED
    assert (await row(engine)).current_id == FIRST + 5
    assert await recorded(engine) == [(FIRST, FIRST + 9)]


@pytest.mark.parametrize(
    ("first", "last"),
    [(FIRST + 5, FIRST + 5), (FIRST - 5, FIRST), (FIRST + 9, FIRST + 12), (FIRST - 99, FIRST + 99)],
)
async def test_no_record_may_overlap_another(
    allocator: MakeAllocator, engine: AsyncEngine, tag: Tag, clock: ManualClock, first: int, last: int
) -> None:
    await allocator().allocate(tag, 1)
    overlapping = segment_allocations.insert().values(
        segment_id=(await row(engine)).id,
        first_id=first,
        last_id=last,
        allocated_at=clock.now(),
        node_id="node-2",
        step_used=last - first + 1,
    )
    with pytest.raises(IntegrityError, match="overlaps"):
        async with engine.begin() as connection:
            await connection.execute(overlapping)


async def test_a_disabled_row_gives_nothing(allocator: MakeAllocator, engine: AsyncEngine, tag: Tag) -> None:
    await allocator().allocate(tag, 1)
    await set_row(engine, status="disabled")
    with pytest.raises(ServiceError, match="disabled"):
        await allocator().allocate(tag, 1)


async def test_a_row_outside_its_data_centre_gives_nothing(
    allocator: MakeAllocator, engine: AsyncEngine, tag: Tag
) -> None:
    await allocator().allocate(tag, 1)
    await set_row(engine, max_id=LAST + 1)
    with pytest.raises(ServiceError, match="outside the range"):
        await allocator().allocate(tag, 1)


async def test_a_tag_deleted_meanwhile_is_unknown(
    allocator: MakeAllocator, engine: AsyncEngine, tag: Tag
) -> None:
    async with engine.begin() as connection:
        await connection.execute(delete(biz_tags))
    with pytest.raises(ServiceError) as refused:
        await allocator().allocate(tag, 1)
    assert refused.value.code is ErrorCode.BIZ_TAG_NOT_FOUND


async def test_a_broken_database_is_unavailable(
    allocator: MakeAllocator, engine: AsyncEngine, tag: Tag
) -> None:
    async with engine.begin() as connection:
        await connection.exec_driver_sql("DROP TABLE segment_allocations")
    with pytest.raises(ServiceError) as refused:
        await allocator().allocate(tag, 1)
    assert refused.value.code is ErrorCode.DATABASE_UNAVAILABLE


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
async def test_a_forked_child_refuses_the_parents_ranges(allocator: MakeAllocator, tag: Tag) -> None:
    source = SegmentSource(allocator())
    await source.take(tag, 1)
    child = os.fork()
    if child == 0:
        try:
            source.take(tag, 1).send(None)
        except ForkedStateError:
            os._exit(7)
        except BaseException:
            os._exit(1)
        os._exit(0)

    assert exit_code(child) == 7
