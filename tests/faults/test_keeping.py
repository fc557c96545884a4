"""`millrace storage archive` and `cleanup`, killed at each of their moments: no row is lost or there twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from millrace_testkit.builders import FIRST_SECOND, message
from millrace_testkit.load import OK, post_all
from millrace_testkit.model.tables import read_dataset, read_rows
from millrace_testkit.stack import Stack

from .conftest import SMALL_BATCHES, Accepted, Exact
from .test_crash_points import ARCHIVING, CLEANING

pytestmark = pytest.mark.faults


def storage(data: Path, *arguments: str, crash_at: str = "") -> int:
    """Exit code of the command on this data directory."""
    settings = {"MILLRACE_DATA": str(data), "MILLRACE_CRASH_AT": crash_at}
    done = subprocess.run(
        [sys.executable, "-c", "from millrace.cli import main; main()", "storage", *arguments],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stdout + done.stderr
    return done.returncode


ALL = ("archive", "--older-than-days", "0", "--compression-level", "1")


async def test_an_archiver_killed_at_one_moment_after_the_other_harms_no_row(
    stack: Stack, landed: Path, accepted: Accepted, assert_exact: Exact
) -> None:
    """LAKE-110, also for days that are in the archive already."""
    shutil.copytree(landed, stack.data, dirs_exist_ok=True)
    for moment in (*ARCHIVING, "AFTER_ARCHIVE_COMMIT_BEFORE_COMPARE#2"):
        assert storage(stack.data, *ALL, crash_at=moment) == -signal.SIGKILL
        assert_exact(stack.data, accepted.bodies)
    assert storage(stack.data, *ALL) == 0
    assert_exact(stack.data, accepted.bodies)
    assert _days_in_both(stack.data) == set()

    # Late ones for archived days, a repeat among them, which a new lander must still tell (LAKE-63, LAKE-64).
    door, writer = stack.door().wait_ready(), stack.lake_writer(**SMALL_BATCHES).wait_ready()
    late = [message(f"late-{number}", FIRST_SECOND + 86_400 * number) for number in range(5)]
    repeated = next(body for body in accepted.bodies if b'"notify_type": 1010' in body and b"wxid" in body)
    assert await post_all(door.endpoint.http_port, [*late, repeated]) == [OK] * 6
    stack.wait_landed()
    writer.stop()
    for moment in ARCHIVING:
        assert storage(stack.data, *ALL, crash_at=moment) == -signal.SIGKILL
        assert_exact(stack.data, [*accepted.bodies, *late, repeated])
    assert storage(stack.data, *ALL) == 0
    assert_exact(stack.data, [*accepted.bodies, *late, repeated])
    assert _days_in_both(stack.data) == set()


def test_a_cleanup_killed_at_one_moment_after_the_other_removes_nothing_that_is_not_landed(
    stack: Stack, landed: Path
) -> None:
    """LAKE-111."""
    shutil.copytree(landed, stack.data, dirs_exist_ok=True)
    raw = stack.data / "messages" / "raw"
    _land_an_old_one(raw, stack)
    before = {name: len(read_dataset(stack.data, name)) for name in ("messages", "contacts", "other")}
    for moment in CLEANING:
        assert (raw / "2020-01-01.jsonl").exists()
        assert storage(stack.data, "cleanup", crash_at=moment) == -signal.SIGKILL
    assert storage(stack.data, "cleanup") == 0
    # The journal of today is too young to go, whatever happened.
    assert [path.name for path in raw.glob("*.jsonl")] == [f"{datetime.now(UTC):%Y-%m-%d}.jsonl"]
    assert not (raw / ".2020-01-01.idx").exists()
    writer = stack.lake_writer(**SMALL_BATCHES).wait_ready()
    stack.wait_landed()
    writer.stop()
    assert {name: len(read_dataset(stack.data, name)) for name in before} == before


def _land_an_old_one(raw: Path, stack: Stack) -> None:
    """A journal of years ago, and the lake writer that lands it."""
    (raw / "2020-01-01.jsonl").write_bytes(b"".join(message(f"old-{n}") + b"\n" for n in range(3)))
    (raw / ".2020-01-01.idx").touch()
    writer = stack.lake_writer(**SMALL_BATCHES).wait_ready()
    stack.wait_landed()
    writer.stop()


def _days_in_both(data: Path) -> set[tuple[str, str, str, str]]:
    def days(root: Path, name: str) -> set[tuple[str, str, str, str]]:
        return {(name, row["year"], row["month"], row["day"]) for row in read_rows(root / name)}

    tables = ("messages", "other")
    return {day for name in tables for day in days(data / "parquet", name) & days(data / "archive", name)}
