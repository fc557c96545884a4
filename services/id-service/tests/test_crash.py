"""Killed by SIGKILL around the commit and started again: no id twice (ID-2, ID-19)."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from id_service.catalog.tag import Tag
from id_service.database.tables import segment_allocations
from millrace_relational import DatabaseUrl

from .conftest import text_of


async def drawn(url: DatabaseUrl, tag: Tag, *, calls: int, crash_at: str = "") -> tuple[int, list[int]]:
    """Exit code of a process that draws 6 ids a call, and the ids that it had handed out."""
    name = (tag.name.workspace, tag.name.group, tag.name.biz_tag)
    script = str(Path(__file__).with_name("drawing.py"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, text_of(url), *name, *["6"] * calls,
        stdout=subprocess.PIPE, env={**os.environ, "MILLRACE_CRASH_AT": crash_at},
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, [int(number) for number in output.split()]


@pytest.mark.faults
@pytest.mark.parametrize(
    ("moment", "allocations"),
    # Steps of 10, 6 ids a call: calls 1, 2 and 4 allocate. Third allocation: killed with three calls served.
    [("AFTER_ALLOCATE_BEFORE_COMMIT#3", 2), ("AFTER_COMMIT_BEFORE_ISSUE#3", 3)],
)
async def test_no_id_is_issued_twice_over_a_kill(
    url: DatabaseUrl, engine: AsyncEngine, tag: Tag, moment: str, allocations: int
) -> None:
    code, before = await drawn(url, tag, calls=9, crash_at=moment)
    assert code == -signal.SIGKILL
    assert len(before) == 18
    async with engine.connect() as connection:
        recorded = await connection.scalar(select(func.count()).select_from(segment_allocations))
    assert recorded == allocations

    code, after = await drawn(url, tag, calls=9)

    assert code == 0
    assert len(after) == 54
    assert not set(before) & set(after)
    assert min(after) == 1_000_000_000_000 + 10 * allocations
