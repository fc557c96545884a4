"""Ids that are left out after a restore: none of them is ever issued (ID-2)."""

from typing import Any

from sqlalchemy import inspect, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from id_service.catalog.store import CatalogStore
from id_service.catalog.tag import Algorithm, IdFormat, Tag, TagName
from id_service.database.connect import open_engine
from id_service.database.tables import segment_allocations, segments
from id_service.segment.allocator import SegmentAllocator
from id_service.segment.ranges import IdRange
from id_service.segment.skip import NODE, skip_ahead
from millrace_relational import DatabaseUrl
from millrace_testkit.clock import ManualClock

FIRST = 1_000_000_000_000


def allocator(engine: AsyncEngine, clock: ManualClock) -> SegmentAllocator:
    return SegmentAllocator(engine, datacenter_id=0, node_id="node-1", clock=clock)


async def rows(engine: AsyncEngine) -> list[Any]:
    async with engine.connect() as connection:
        return list((await connection.execute(select(segments).order_by(segments.c.id))).all())


async def test_allocation_goes_on_behind_the_ids_left_out(
    engine: AsyncEngine, tag: Tag, clock: ManualClock
) -> None:
    assert await allocator(engine, clock).allocate(tag, 1) == IdRange(FIRST, FIRST + 9)
    assert await skip_ahead(engine, 1_000, now=clock.now()) == 1
    assert await allocator(engine, clock).allocate(tag, 1) == IdRange(FIRST + 1_010, FIRST + 1_019)
    async with engine.connect() as connection:
        columns = segment_allocations.c
        skipped = select(columns.first_id, columns.last_id).where(columns.node_id == NODE)
        assert (await connection.execute(skipped)).all() == [(FIRST + 10, FIRST + 1_009)]


async def test_a_tag_without_a_row_may_have_issued_too(
    engine: AsyncEngine, tag: Tag, store: CatalogStore, clock: ManualClock
) -> None:
    far = TagName("acme", "shop", "far")
    await store.add_tag(far, datacenter_ids=[1, 2])
    await store.add_tag(TagName("acme", "shop", "event"), algorithm=Algorithm.UUID_V7, format=IdFormat.UUID)
    assert await skip_ahead(engine, 50, now=clock.now()) == 3
    assert [row.current_id for row in await rows(engine)] == [
        FIRST + 50,
        2 * FIRST + 50,
        3 * FIRST + 50,
    ]
    assert await allocator(engine, clock).allocate(tag, 1) == IdRange(FIRST + 50, FIRST + 59)


async def test_a_row_with_fewer_ids_left_is_exhausted_and_a_disabled_one_stays_so(
    engine: AsyncEngine, tag: Tag, clock: ManualClock
) -> None:
    await allocator(engine, clock).allocate(tag, 1)
    async with engine.begin() as connection:
        await connection.execute(update(segments).values(max_id=FIRST + 99))
    assert await skip_ahead(engine, 1_000, now=clock.now()) == 1
    [row] = await rows(engine)
    assert (row.current_id, row.status) == (FIRST + 100, "exhausted")
    assert await skip_ahead(engine, 1_000, now=clock.now()) == 0

    async with engine.begin() as connection:
        await connection.execute(update(segments).values(max_id=FIRST + 199, status="disabled"))
    await skip_ahead(engine, 1_000, now=clock.now())
    [row] = await rows(engine)
    assert (row.current_id, row.status) == (FIRST + 200, "disabled")


async def test_a_database_without_tables_is_left_alone(empty: DatabaseUrl, clock: ManualClock) -> None:
    engine = open_engine(empty)
    try:
        assert await skip_ahead(engine, 5, now=clock.now()) == 0
        async with engine.connect() as connection:
            assert await connection.run_sync(lambda bound: inspect(bound).get_table_names()) == []
    finally:
        await engine.dispose()
