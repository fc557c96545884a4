"""Resident writer and storage commands on the same journals at once, with kills: the lake is exact (LAKE-66, 68)."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from millrace_testkit.builders import message, traffic
from millrace_testkit.load import OK, post_all
from millrace_testkit.stack import Stack, wait_until

from .conftest import SMALL_BATCHES, Accepted, Exact

pytestmark = [pytest.mark.faults, pytest.mark.slow]

ENDS_WITHIN_S = 90.0


def command(stack: Stack, *arguments: str, crash_at: str = "") -> subprocess.Popen[bytes]:
    """`millrace storage …` on the installation's directory."""
    environ = {**os.environ, "MILLRACE_DATA": str(stack.data), "MILLRACE_LOG_LEVEL": "ERROR"}
    if crash_at:
        environ["MILLRACE_CRASH_AT"] = crash_at
    program = [str(Path(sys.executable).with_name("millrace")), "storage", *arguments]
    return subprocess.Popen(
        program, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def ended(process: subprocess.Popen[bytes]) -> int:
    out, err = process.communicate(timeout=ENDS_WITHIN_S)
    assert process.returncode in (0, -9), (out, err)
    return process.returncode


async def test_all_at_once_give_the_lake_of_the_journals(
    filled: Stack, accepted: Accepted, assert_exact: Exact
) -> None:
    """A door that takes more, a resident writer that is killed, commands that go on, begin anew and are killed.

    LAKE-S15: 50 at once post all the while."""
    chance = random.Random(7)
    door = filled.door().wait_ready()
    writer = filled.lake_writer(**SMALL_BATCHES)
    bodies = [*itertools.islice(traffic(2), 300)]
    posting = asyncio.create_task(post_all(door.endpoint.http_port, bodies, connections=50))
    for turn in range(2):
        running = [
            command(filled, "dump-parquet", "--batch-size", "3"),
            command(filled, "dump-parquet", "--batch-size", "4", *(["--overwrite"] if turn else [])),
        ]
        await asyncio.sleep(chance.uniform(0.8, 2.0))  # into the middle of their work
        if not turn:
            chance.choice(running).kill()
            writer.kill()
            writer = filled.lake_writer(**SMALL_BATCHES)
        for process in running:
            await asyncio.to_thread(ended, process)
    statuses = await posting
    assert set(statuses) == {OK}
    door.stop()
    filled.wait_landed()
    writer.stop()
    last = command(filled, "dump-parquet", "--json")
    out, _ = last.communicate(timeout=ENDS_WITHIN_S)
    assert last.returncode == 0
    assert json.loads(out)["totals"]["messages"] == 0
    assert_exact(filled.data, [*accepted.bodies, *bodies])
    for file in (filled.data / "metadata" / "checkpoints").glob("*.json"):
        assert json.loads(file.read_bytes())["status"] == "completed"


@pytest.mark.parametrize(
    "moment",
    [
        "AFTER_CONTACTS_COMMIT_BEFORE_MESSAGES",
        "AFTER_COMMIT_BEFORE_INDEX",
        "AFTER_INGEST_COMMIT",
        "AFTER_SYNC_BEFORE_CHECKPOINT#2",
    ],
)
def test_a_command_killed_at_any_moment_goes_on(
    filled: Stack, accepted: Accepted, assert_exact: Exact, moment: str
) -> None:
    """LAKE-66: kill -9 between any two steps, then once more, then to the end."""
    assert ended(command(filled, "dump-parquet", "--batch-size", "8", crash_at=moment)) == -9
    again = command(
        filled, "dump-parquet", "--batch-size", "4", "--overwrite", crash_at=f"{moment.partition('#')[0]}#2"
    )
    ended(again)
    assert ended(command(filled, "dump-parquet")) == 0
    assert_exact(filled.data, accepted.bodies)


def test_a_rebuild_killed_in_the_middle_is_made_again(
    filled: Stack, accepted: Accepted, assert_exact: Exact
) -> None:
    """LAKE-90: the damaged file is laid aside already, and the table still names it."""
    assert ended(command(filled, "dump-parquet", "--batch-size", "8")) == 0
    victim = next((filled.data / "parquet" / "messages").glob("year=*/month=*/day=*/*.parquet"))
    victim.write_bytes(b"")
    killed = command(filled, "dump-parquet", "--overwrite", crash_at="AFTER_QUARANTINE_BEFORE_REPAIR")
    assert ended(killed) == -9
    assert not victim.exists()
    assert ended(command(filled, "dump-parquet", "--overwrite")) == 0
    assert_exact(filled.data, accepted.bodies)


def test_a_full_disk_ends_a_command_with_74(stack: Stack, tmp_path: Path) -> None:
    """LAKE-S16 by the command and its own clock: files of over 1 MiB cannot be written."""
    raw = stack.data / "messages" / "raw"
    raw.mkdir(parents=True)
    lines = [message(str(n), content=os.urandom(3000).hex()) for n in range(400)]
    (raw / "2026-03-14.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    environ = {**os.environ, "MILLRACE_DATA": str(stack.data)}
    program = f"ulimit -f 1024; exec {Path(sys.executable).with_name('millrace')} storage dump-parquet"
    limited = subprocess.run(
        ["bash", "-c", program],
        env=environ,
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN_S,
        check=False,
    )
    assert limited.returncode == 74, limited.stderr
    assert limited.stderr.count("ingest_write_failed") == 3
    checkpoint = stack.data / "metadata" / "checkpoints" / "2026-03-14_checkpoint.json"
    assert json.loads(checkpoint.read_bytes())["status"] == "failed"
    assert not list((stack.data / "parquet").rglob("*.parquet*"))
    assert ended(command(stack, "dump-parquet")) == 0
    wait_until(lambda: json.loads(checkpoint.read_bytes())["status"] == "completed", 1, "completed")
    assert json.loads(checkpoint.read_bytes())["last_processed_line"] == 400
