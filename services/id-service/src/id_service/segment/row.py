"""One row of `segments`: reading it, making it, moving it forward."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from id_service.catalog.tag import Tag
from id_service.database.connect import database_errors
from id_service.database.tables import segment_allocations, segments
from id_service.database.write import insert_if_absent
from id_service.errors import unknown_tag
from id_service.segment.ranges import IdRange, datacenter_range
from millrace_relational import WriteConflictError
from millrace_runtime.crash import crash_point

ROW_KEY: Final = ("biz_tag_id", "datacenter_id", "period")
_NO_PERIOD: Final = ""


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """A row as it was read. `current_id` is the next id that no process was given."""

    id: int
    start_id: int
    current_id: int
    max_id: int
    version: int
    status: str

    @property
    def left(self) -> int:
        """How many ids can still be allocated."""
        return self.max_id - self.current_id + 1


async def read_row(engine: AsyncEngine, tag: Tag, datacenter_id: int) -> SegmentRow | None:
    """The tag's row of this data centre; None when there is none.

    The read is a transaction of its own: a write that follows in the same one could not wait for
    another writer, since its snapshot would already be old.
    """
    columns = segments.c
    query = select(
        columns.id, columns.start_id, columns.current_id, columns.max_id, columns.version, columns.status
    ).where(
        columns.biz_tag_id == tag.id, columns.datacenter_id == datacenter_id, columns.period == _NO_PERIOD
    )
    with database_errors():
        async with engine.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
    return None if row is None else SegmentRow(*row)


async def make_row(engine: AsyncEngine, tag: Tag, datacenter_id: int, *, now: datetime) -> None:
    """Make the tag's row with the range of ID-18, unless another process was first (ID-73).

    Raises:
        ServiceError: BIZ_TAG_NOT_FOUND when the tag was deleted meanwhile; DATABASE_UNAVAILABLE.
        WriteConflictError: another writer held the database; try again.
    """
    row = first_row(tag.id, tag.base_step, datacenter_id, now=now)
    try:
        await insert_if_absent(engine, segments, row, *ROW_KEY)
    except IntegrityError:
        raise unknown_tag(tag.name.biz_tag) from None


def first_row(tag_id: str, base_step: int, datacenter_id: int, *, now: datetime) -> dict[str, Any]:
    """A row of which nothing is allocated, with the range of ID-18; `ROW_KEY` are the columns of its key."""
    owned = datacenter_range(datacenter_id)
    return {
        "biz_tag_id": tag_id,
        "datacenter_id": datacenter_id,
        "period": _NO_PERIOD,
        "start_id": owned.first,
        "current_id": owned.first,
        "max_id": owned.last,
        "step": base_step,
        "base_step": base_step,
        "last_update_time": now,
    }


async def take_range(
    engine: AsyncEngine, row: SegmentRow, taken: IdRange, *, node_id: str, now: datetime
) -> None:
    """Move the row behind `taken` and record the allocation, in one transaction (ID-9).

    On return the commit is on stable storage. On any error the range must not be used: it may have
    been committed.

    Raises:
        WriteConflictError: the row has changed since it was read, or another writer holds the database.
        IntegrityError: a part of the range is on record as allocated before.
        ServiceError: DATABASE_UNAVAILABLE.
    """
    move = (
        update(segments)
        .where(segments.c.id == row.id, segments.c.version == row.version)
        .values(
            current_id=taken.last + 1,
            version=row.version + 1,
            step=len(taken),
            status="exhausted" if taken.last == row.max_id else "active",
            last_update_time=now,
        )
    )
    record = insert(segment_allocations).values(
        segment_id=row.id,
        first_id=taken.first,
        last_id=taken.last,
        allocated_at=now,
        node_id=node_id,
        step_used=len(taken),
    )
    with database_errors():
        async with engine.begin() as connection:
            if (await connection.execute(move)).rowcount != 1:
                raise WriteConflictError
            await connection.execute(record)
            crash_point("AFTER_ALLOCATE_BEFORE_COMMIT")


async def mark_exhausted(engine: AsyncEngine, row: SegmentRow, *, now: datetime) -> None:
    """Give a used-up row the status `exhausted` (ID-13); a row changed meanwhile is left alone."""
    with database_errors():
        async with engine.begin() as connection:
            await connection.execute(
                update(segments)
                .where(segments.c.id == row.id, segments.c.version == row.version)
                .values(status="exhausted", last_update_time=now)
            )
