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

from millrace_testkit.builders import message
from millrace_testkit.load import OK, post_all
from millrace_testkit.model import compare
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


@pytest.mark.parametrize(
    "moment", [*ARCHIVING, "AFTER_ARCHIVE_COMMIT_BEFORE_COMPARE#3", "AFTER_COMPARE_BEFORE_DELETE#4"]
)
async def test_an_archiver_killed_at_any_moment_harms_no_row(
    stack: Stack, landed: Path, accepted: Accepted, assert_exact: Exact, moment: str
) -> None:
    """LAKE-110, also for days that are in the archive already."""
    shutil.copytree(landed, stack.data, dirs_exist_ok=True)
    assert storage(stack.data, *ALL, crash_at=moment) == -signal.SIGKILL
    assert_exact(stack.data, accepted.bodies)
    assert storage(stack.data, *ALL) == 0
    assert_exact(stack.data, accepted.bodies)
    assert _days_in_both(stack.data) == set()

    # Late ones for archived days, a repeat among them, which a new lander must still tell (LAKE-63, LAKE-64).
    door, writer = stack.door().wait_ready(), stack.lake_writer(**SMALL_BATCHES)
    late = [message(f"late-{number}") for number in range(5)]
    repeated = next(body for body in accepted.bodies if b'"notify_type": 1010' in body and b"wxid" in body)
    assert await post_all(door.endpoint.http_port, [*late, repeated]) == [OK] * 6
    stack.wait_landed()
    writer.stop()
    assert storage(stack.data, *ALL, crash_at=moment.partition("#")[0]) == -signal.SIGKILL
    assert compare(stack.data) == []
    assert storage(stack.data, *ALL) == 0
    assert_exact(stack.data, [*accepted.bodies, *late, repeated])
    assert _days_in_both(stack.data) == set()


@pytest.mark.parametrize("moment", CLEANING)
def test_a_cleanup_killed_at_any_moment_removes_nothing_that_is_not_landed(
    stack: Stack, landed: Path, accepted: Accepted, moment: str
) -> None:
    """LAKE-111."""
    shutil.copytree(landed, stack.data, dirs_exist_ok=True)
    raw = stack.data / "messages" / "raw"
    assert _past(raw, stack) == 1
    before = {name: len(read_dataset(stack.data, name)) for name in ("messages", "contacts", "other")}
    assert storage(stack.data, "cleanup", crash_at=moment) == -signal.SIGKILL
    assert storage(stack.data, "cleanup") == 0
    assert [path.name for path in raw.glob("*2020-01-01*")] + [
        path.name for path in raw.glob(".2020-01-01*")
    ] == []
    # The journal of today is too young to go, whatever happened.
    assert list(raw.glob("*.jsonl")) == [raw / f"{datetime.now(UTC):%Y-%m-%d}.jsonl"]
    writer = stack.lake_writer(**SMALL_BATCHES)
    stack.wait_landed()
    writer.stop()
    assert {name: len(read_dataset(stack.data, name)) for name in before} == before


def _past(raw: Path, stack: Stack) -> int:
    """Land a journal of years ago; how many old journals there are."""
    (raw / "2020-01-01.jsonl").write_bytes(b"".join(message(f"old-{n}") + b"\n" for n in range(3)))
    (raw / ".2020-01-01.idx").touch()
    writer = stack.lake_writer(**SMALL_BATCHES)
    stack.wait_landed()
    writer.stop()
    return len(list(raw.glob("20[012]*-01-01.jsonl")))


def _days_in_both(data: Path) -> set[tuple[str, str, str, str]]:
    def days(root: Path, name: str) -> set[tuple[str, str, str, str]]:
        return {(name, row["year"], row["month"], row["day"]) for row in read_rows(root / name)}

    tables = ("messages", "other")
    return {day for name in tables for day in days(data / "parquet", name) & days(data / "archive", name)}
