"""No space left: the door refuses and heals, the lake writer waits and heals, and no row is wrong."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from millrace_testkit.builders import message
from millrace_testkit.load import OK, post_all
from millrace_testkit.stack import Process, Stack, wait_until

from .conftest import SMALL_BATCHES, Accepted, Exact

pytestmark = [pytest.mark.faults, pytest.mark.slow]

UNAVAILABLE = 503
HEALS_WITHIN_S = 60.0

Mount = Callable[[Path, int], Path]


@pytest.fixture
def mount(stack: Stack) -> Iterator[Mount]:
    """`mount(directory, size)`: a small file system of `size` KiB there; unmounted when the processes are gone."""
    mounted: list[Path] = []

    def tmpfs(directory: Path, size_kib: int) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        options = f"size={size_kib}k"
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "millrace-test", str(directory)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if made.returncode != 0:
            refuse = pytest.fail if os.environ.get("MILLRACE_REQUIRE_REAL") == "1" else pytest.skip
            refuse(f"no small file system to be had: {made.stderr.strip()}")
        mounted.append(directory)
        return directory

    yield tmpfs
    stack.end()
    for directory in mounted:
        subprocess.run(["umount", str(directory)], timeout=30, check=True)


def fill(directory: Path, *, leave: int = 0) -> Path:
    """A file that takes all space of the file system but `leave` bytes; remove it to free the space."""
    ballast = directory / ".ballast.tmp"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    if leave:
        os.truncate(ballast, ballast.stat().st_size - leave)
    return ballast


async def test_a_door_without_space_answers_503_and_heals_by_itself(
    stack: Stack, mount: Mount, assert_exact: Exact
) -> None:
    raw = mount(stack.data / "messages" / "raw", 256)
    door, writer = stack.door().wait_ready(), stack.lake_writer()
    port = door.endpoint.http_port
    first = [message(f"{10_000 + number}") for number in range(20)]
    assert set(await post_all(port, first)) == {OK}

    # One page is left: the first group that needs more is cut in the middle, and leaves a torn line.
    ballast = fill(raw, leave=4096)
    wide = [message(f"{20_000 + number}", content="页" * 900) for number in range(8)]
    statuses = await post_all(port, wide, connections=8)
    assert UNAVAILABLE in statuses
    assert set(statuses) <= {OK, UNAVAILABLE}
    assert not next(raw.glob("*.jsonl")).read_bytes().endswith(b"\n")
    assert not door.ready()
    assert door.alive

    ballast.unlink()
    wait_until(door.ready, HEALS_WITHIN_S, "the door healthy again")
    later = [message(f"{30_000 + number}") for number in range(20)]
    assert await post_all(port, [*wide, *later]) == [OK] * 28
    stack.wait_landed()
    writer.stop()
    stored = [body for body, status in zip(wide, statuses, strict=True) if status == OK]
    assert_exact(stack.data, [*first, *stored, *wide, *later])


def test_a_lake_writer_without_space_says_so_waits_and_lands_every_row_once(
    filled: Stack, mount: Mount, accepted: Accepted, assert_exact: Exact
) -> None:
    lake = mount(filled.data / "parquet", 4096)
    writer = filled.lake_writer(**SMALL_BATCHES)
    wait_until(lambda: any(lake.glob("messages/year=*")), HEALS_WITHIN_S, "the first commit")
    ballast = fill(lake)
    checkpoints = filled.data / "metadata" / "checkpoints"
    wait_until(lambda: "failed" in statuses_in(checkpoints), HEALS_WITHIN_S, "a checkpoint that says failed")
    assert not writer.ready()
    assert writer.alive

    ballast.unlink()
    filled.wait_landed()
    wait_until(lambda: statuses_in(checkpoints) == {"completed"}, HEALS_WITHIN_S, "a completed checkpoint")
    wait_until(writer.ready, HEALS_WITHIN_S, "the lake writer ready again")
    writer.stop()
    assert_exact(filled.data, accepted.bodies)


def test_a_lake_writer_killed_while_there_is_no_space_goes_on_where_the_lake_stands(
    filled: Stack, mount: Mount, accepted: Accepted, assert_exact: Exact
) -> None:
    lake = mount(filled.data / "parquet", 4096)
    wait_until(started(filled, lake), HEALS_WITHIN_S, "the first commit")
    ballast = fill(lake)
    killed = filled.lake_writer(**SMALL_BATCHES)
    wait_until(lambda: "No space" in killed.log(), HEALS_WITHIN_S, "a failed start or batch")
    killed.kill()
    ballast.unlink()
    filled.lake_writer(**SMALL_BATCHES)
    filled.wait_landed()
    assert_exact(filled.data, accepted.bodies)


def started(stack: Stack, lake: Path) -> Callable[[], bool]:
    """A writer that is killed as soon as it has landed something."""
    writer: Process = stack.lake_writer(**SMALL_BATCHES)

    def landed_something() -> bool:
        if any(lake.glob("messages/year=*")):
            writer.kill()
            return True
        return False

    return landed_something


def statuses_in(checkpoints: Path) -> set[str]:
    """The statuses of all checkpoint files."""
    return {json.loads(file.read_text())["status"] for file in checkpoints.glob("*_checkpoint.json")}
