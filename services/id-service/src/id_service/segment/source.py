"""Ids of one tag from memory, refilled from the database."""

import asyncio

from id_service.catalog.tag import Tag
from id_service.process_bound import ProcessBound
from id_service.segment.allocator import SegmentAllocator
from id_service.segment.ranges import Held, IdRange


class TagSource:
    """The ranges that this process holds of one tag.

    Callers that have to wait are served in the order they came. Ids of later calls lie above those of
    earlier ones (ID-4), whatever their sizes. What is held when the process ends is lost, never issued again.
    """

    def __init__(self, allocator: SegmentAllocator) -> None:
        self._allocator = allocator
        self._held = Held()
        self._turn = asyncio.Lock()

    def take_held(self, size: int) -> list[IdRange] | None:
        """`size` ids if memory has them and no allocation is under way; else None."""
        if self._turn.locked() or len(self._held) < size:
            return None
        return self._held.take(size)

    async def take(self, tag: Tag, size: int) -> list[IdRange]:
        """`size` ids, allocating what is missing. All or nothing: an error consumes no id (ID-16)."""
        async with self._turn:
            missing = size - len(self._held)
            if missing > 0:
                self._held.add(await self._allocator.allocate(tag, missing))
            return self._held.take(size)


class SegmentSource:
    """The segment algorithm of one process, for all tags. Bound to its process and event loop."""

    def __init__(self, allocator: SegmentAllocator) -> None:
        self._allocator = allocator
        self._tags: dict[str, TagSource] = {}
        self._running: set[asyncio.Task[list[IdRange]]] = set()
        self._process = ProcessBound()

    async def take(self, tag: Tag, size: int) -> list[IdRange]:
        """Exactly `size` >= 1 ids as rising ranges, above all ids of the tag's earlier calls.

        A caller that is cancelled while it waits does not stop the allocation it began: a connection
        torn out of a commit helps nobody, and the rest of the range serves the next caller. Only its
        own ids are lost.

        Raises:
            ServiceError: as `SegmentAllocator.allocate`; then no id is consumed.
            ForkedStateError: in a child of the process that made this object.
        """
        self._process.check()
        source = self._tags.get(tag.id)
        if source is None:
            source = self._tags[tag.id] = TagSource(self._allocator)
        held = source.take_held(size)
        if held is not None:
            return held
        task = asyncio.create_task(source.take(tag, size))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Return when no allocation is running any more."""
        if self._running:
            await asyncio.wait(self._running)

    def _ended(self, task: asyncio.Task[list[IdRange]]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may be gone, and a failure that nobody saw would be logged
