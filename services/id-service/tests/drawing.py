"""A process that draws ids: `python drawing.py URL WORKSPACE GROUP TAG SIZE...`.

Prints the ids of each call as one line when it has them, as a caller would receive them.
"""

import asyncio
import sys

from id_service.catalog.store import CatalogStore
from id_service.catalog.tag import Tag, TagName
from id_service.database.connect import open_engine
from id_service.segment.allocator import SegmentAllocator
from id_service.segment.ranges import IdRange
from id_service.segment.source import SegmentSource
from millrace_relational import DatabaseUrl
from millrace_runtime.clock import SYSTEM_CLOCK
from millrace_runtime.errors import ErrorCode, ServiceError

_ATTEMPTS = 20


async def take(source: SegmentSource, tag: Tag, size: int) -> list[IdRange]:
    """As `SegmentSource.take`, again when others kept the row busy, as a caller would: on a busy host they may."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return await source.take(tag, size)
        except ServiceError as error:
            if error.code is not ErrorCode.SEGMENT_ALLOCATE_FAILED:
                raise
    return await source.take(tag, size)


async def draw(url: str, name: TagName, sizes: list[int]) -> None:
    engine = open_engine(DatabaseUrl.parse(url))
    tag = await CatalogStore(engine, SYSTEM_CLOCK).find(name)
    allocator = SegmentAllocator(engine, datacenter_id=0, node_id="drawing", clock=SYSTEM_CLOCK)
    source = SegmentSource(allocator)
    for size in sizes:
        ranges = await take(source, tag, size)
        print(*(number for held in ranges for number in held), flush=True)
    await engine.dispose()


if __name__ == "__main__":
    url, workspace, group, biz_tag, *sizes = sys.argv[1:]
    asyncio.run(draw(url, TagName(workspace, group, biz_tag), [int(size) for size in sizes]))
