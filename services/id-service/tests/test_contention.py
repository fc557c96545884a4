"""Many take from one row at once: no repeats, disjoint ranges, everything on record (ID-2, 9, 13)."""

import asyncio
import random
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from id_service.catalog.tag import Tag
from id_service.database.connect import open_engine
from id_service.database.tables import segment_allocations, segments
from id_service.segment.allocator import SegmentAllocator
from id_service.segment.source import SegmentSource
from millrace_relational import DatabaseUrl
from millrace_runtime.clock import SYSTEM_CLOCK

from .conftest import text_of
from .drawing import take

FIRST = 1_000_000_000_000


async def require_all_on_record(engine: AsyncEngine, drawn: Iterable[int]) -> None:
    """The drawn ids are distinct and lie in recorded ranges that follow each other without a gap."""
    columns = segment_allocations.c
    async with engine.connect() as connection:
        found = await connection.execute(select(columns).order_by(columns.first_id))
        records = found.all()
        row = (await connection.execute(select(segments))).one()
    assert records[0].first_id == FIRST
    for below, above in pairwise(records):
        assert above.first_id == below.last_id + 1
    assert row.current_id == records[-1].last_id + 1
    assert row.version == len(records)
    ids = list(drawn)
    assert len(set(ids)) == len(ids)
    assert min(ids) >= FIRST
    assert max(ids) < row.current_id


async def draw(url: DatabaseUrl, tag: Tag, sizes: list[int], node_id: str) -> list[int]:
    """The ids of one node, one call after the other."""
    engine = open_engine(url)
    allocator = SegmentAllocator(engine, datacenter_id=0, node_id=node_id, clock=SYSTEM_CLOCK)
    source = SegmentSource(allocator)
    drawn = [number for size in sizes for held in await take(source, tag, size) for number in held]
    await engine.dispose()
    return drawn


async def test_concurrent_callers_of_one_node(url: DatabaseUrl, engine: AsyncEngine, tag: Tag) -> None:
    allocator = SegmentAllocator(engine, datacenter_id=0, node_id="one", clock=SYSTEM_CLOCK)
    source = SegmentSource(allocator)
    sizes = [random.Random(7).choice([1, 1, 1, 3, 25]) for _ in range(200)]

    batches = await asyncio.gather(*(source.take(tag, size) for size in sizes))

    ids = [[number for held in ranges for number in held] for ranges in batches]
    assert [len(batch) for batch in ids] == sizes
    assert all(batch == sorted(batch) for batch in ids)
    await require_all_on_record(engine, (number for batch in ids for number in batch))


async def test_callers_are_served_in_the_order_they_come(engine: AsyncEngine, tag: Tag) -> None:
    allocator = SegmentAllocator(engine, datacenter_id=0, node_id="one", clock=SYSTEM_CLOCK)
    source = SegmentSource(allocator)

    batches = await asyncio.gather(*(source.take(tag, size) for size in [4, 15, 1, 30]))

    lowest = [ranges[0].first for ranges in batches]
    assert lowest == [FIRST, FIRST + 4, FIRST + 19, FIRST + 20]


async def test_four_nodes_in_threads(url: DatabaseUrl, engine: AsyncEngine, tag: Tag) -> None:
    def node(number: int) -> list[int]:
        return asyncio.run(draw(url, tag, [1, 12] * 20, f"thread-{number}"))

    with ThreadPoolExecutor(4) as threads:
        loop = asyncio.get_running_loop()
        drawn = await asyncio.gather(*(loop.run_in_executor(threads, node, number) for number in range(4)))

    for ids in drawn:
        assert len(ids) == 260
        assert ids == sorted(ids)
    await require_all_on_record(engine, (number for ids in drawn for number in ids))


@pytest.mark.parametrize("processes", [3])
async def test_nodes_in_processes(url: DatabaseUrl, engine: AsyncEngine, tag: Tag, processes: int) -> None:
    name = (tag.name.workspace, tag.name.group, tag.name.biz_tag)
    command = [sys.executable, str(Path(__file__).with_name("drawing.py")), text_of(url), *name, *["7"] * 60]
    nodes = [await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE) for _ in range(processes)]
    outputs = [(await node.communicate())[0] for node in nodes]

    assert [node.returncode for node in nodes] == [0] * processes
    drawn = [[int(number) for number in output.split()] for output in outputs]
    assert [len(ids) for ids in drawn] == [420] * processes
    await require_all_on_record(engine, (number for ids in drawn for number in ids))
