"""Taking ranges from a tag's row under the optimistic lock (ID-13).

    read the row  ->  UPDATE ... WHERE version = the one read  ->  record the range  ->  COMMIT

The version lets one of two racing processes write; the other sees no row updated and starts over.
Only a commit that returned gives ids away. A crash before the commit leaves the row as it was; a crash
after it loses the range, which is never given out again.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from id_service.catalog.tag import Tag
from id_service.database.write import retry_conflicts
from id_service.errors import allocation_failed, segment_exhausted, unknown_tag
from id_service.segment.ranges import IdRange, datacenter_range
from id_service.segment.row import SegmentRow, make_row, mark_exhausted, read_row, take_range
from millrace_relational import WriteConflictError
from millrace_runtime.clock import Clock
from millrace_runtime.crash import crash_point
from millrace_runtime.logs import get_logger

log = get_logger(__name__)


class SegmentAllocator:
    """Allocates ranges of one data centre's rows to this process, which the records call `node_id`."""

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        datacenter_id: int,
        node_id: str,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        on_outcome: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        """`on_outcome` hears `allocated`, `lost_race` or `failed` of every attempt."""
        self._engine = engine
        self._datacenter_id = datacenter_id
        self._owned = datacenter_range(datacenter_id)
        self._node_id = node_id
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._on_outcome = on_outcome
        self._highest: dict[int, int] = {}

    async def allocate(self, tag: Tag, minimum: int) -> IdRange:
        """A range of at least `minimum` ids that no process was given before, above all earlier ones.

        It is whole steps of the tag's `base_step`, cut at the row's last id. The row is made when the
        tag has none. When the call returns the allocation is on stable storage.

        Raises:
            ServiceError: SEGMENT_EXHAUSTED when fewer than `minimum` ids are left, and then none is
                taken (ID-16); SEGMENT_ALLOCATE_FAILED when the lock was not won within 2 s or the row
                cannot be trusted; DATABASE_UNAVAILABLE; BIZ_TAG_NOT_FOUND.
        """
        try:
            taken = await retry_conflicts(
                lambda: self._attempt(tag, minimum),
                monotonic=self._clock.monotonic,
                sleep=self._sleep,
                jitter=self._jitter,
            )
        except WriteConflictError as error:
            self._on_outcome("failed")
            log.warning("segment_lock_not_won", biz_tag=tag.name.biz_tag)
            raise allocation_failed("other nodes kept the tag's row busy") from error
        except Exception:
            self._on_outcome("failed")
            raise
        self._on_outcome("allocated")
        crash_point("AFTER_COMMIT_BEFORE_ISSUE")
        return taken

    async def _attempt(self, tag: Tag, minimum: int) -> IdRange:
        row = await self._row(tag)
        self._require_trust(row, tag)
        if row.left < minimum:
            if row.left == 0 and row.status == "active":
                await mark_exhausted(self._engine, row, now=self._clock.now())
            raise segment_exhausted(tag.name.biz_tag, self._datacenter_id, row.current_id, row.max_id)
        steps = -(-minimum // tag.base_step)
        taken = IdRange(row.current_id, min(row.current_id + steps * tag.base_step - 1, row.max_id))
        try:
            await take_range(self._engine, row, taken, node_id=self._node_id, now=self._clock.now())
        except WriteConflictError:
            self._on_outcome("lost_race")
            raise
        except IntegrityError as error:
            log.critical("segment_allocation_refused", biz_tag=tag.name.biz_tag, first=taken.first)
            raise allocation_failed("the tag's row contradicts the recorded allocations") from error
        self._highest[row.id] = taken.last
        return taken

    async def _row(self, tag: Tag) -> SegmentRow:
        row = await read_row(self._engine, tag, self._datacenter_id)
        if row is None:
            await make_row(self._engine, tag, self._datacenter_id, now=self._clock.now())
            row = await read_row(self._engine, tag, self._datacenter_id)
        if row is None:
            raise unknown_tag(tag.name.biz_tag)
        return row

    def _require_trust(self, row: SegmentRow, tag: Tag) -> None:
        """Refuse a row that was switched off, reaches outside ID-18, or went back (ID-20)."""
        if row.status == "disabled":
            raise allocation_failed("the tag's row is disabled")
        if row.start_id < self._owned.first or row.max_id > self._owned.last:
            log.critical("segment_row_outside_its_datacenter", biz_tag=tag.name.biz_tag)
            raise allocation_failed("the tag's row reaches outside the range of its data centre")
        highest = self._highest.get(row.id, 0)
        if row.current_id <= highest:
            # A restored backup or a promoted standby: everything up to `highest` may have been issued.
            log.critical(
                "segment_row_went_back",
                biz_tag=tag.name.biz_tag,
                current_id=row.current_id,
                allocated_up_to=highest,
            )
            raise allocation_failed("the tag's row is behind what was allocated; raise its current_id")
