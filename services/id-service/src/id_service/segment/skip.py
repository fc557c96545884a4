"""Leaving ids out after a restore: those that were issued since the backup are not known any more (ID-2)."""

from datetime import datetime
from typing import Final

from sqlalchemy import insert, inspect, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from id_service.catalog.tag import Algorithm
from id_service.database.connect import database_errors
from id_service.database.tables import biz_tags, segment_allocations, segments
from id_service.segment.row import ROW_KEY, first_row
from millrace_relational import insert_if_absent

NODE: Final = "restore"
"""Who has the left-out ids, as the records of allocations say."""

MOST: Final = 2_000_000_000


async def skip_ahead(engine: AsyncEngine, count: int, *, now: datetime) -> int:
    """Leave out the next `count` ids, 1 to `MOST`, of every segment tag; of one with fewer left, all.

    They are on record as allocated, in one transaction. No service may issue from this database meanwhile.
    Returns how many rows were moved, 0 for a database that no id-service has ever used.

    Raises:
        ServiceError: DATABASE_UNAVAILABLE.
        WriteConflictError: somebody else writes to the database.
    """
    with database_errors():
        async with engine.begin() as connection:
            if not await connection.run_sync(lambda bound: inspect(bound).has_table(segments.name)):
                return 0
            await _make_missing_rows(connection, now)
            return await _skip(connection, count, now)


async def _make_missing_rows(connection: AsyncConnection, now: datetime) -> None:
    """A tag's first ids may have been issued since the backup."""
    tags = select(biz_tags.c.id, biz_tags.c.base_step, biz_tags.c.datacenter_ids)
    for tag in (await connection.execute(tags.where(biz_tags.c.algorithm == Algorithm.SEGMENT.value))).all():
        for datacenter_id in tag.datacenter_ids:
            row = first_row(tag.id, tag.base_step, datacenter_id, now=now)
            await insert_if_absent(connection, segments, row, *ROW_KEY)


async def _skip(connection: AsyncConnection, count: int, now: datetime) -> int:
    moved = 0
    for row in (await connection.execute(select(segments))).all():
        last = min(row.current_id + count - 1, row.max_id)
        skipped = last - row.current_id + 1
        if skipped == 0:
            continue
        exhausted = last == row.max_id and row.status == "active"
        await connection.execute(
            update(segments)
            .where(segments.c.id == row.id)
            .values(
                current_id=last + 1,
                version=row.version + 1,
                step=skipped,
                status="exhausted" if exhausted else row.status,
                last_update_time=now,
            )
        )
        await connection.execute(
            insert(segment_allocations).values(
                segment_id=row.id,
                first_id=row.current_id,
                last_id=last,
                allocated_at=now,
                node_id=NODE,
                step_used=skipped,
            )
        )
        moved += 1
    return moved
