"""Checkpoints of the resident writer: told of batches, written behind a sync, beside another driver's."""

from __future__ import annotations

import datetime
import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingest_service.land.batch import build
from ingest_service.land.checkpoint import Checkpoint, CheckpointFile
from ingest_service.land.lander import Standing
from ingest_service.land.reports import Checkpoints
from millrace_ports.bus.port import Partition

from .conftest import DAY, NOW_S, Landing, message

NOW = datetime.datetime(2026, 3, 14, 12, tzinfo=datetime.UTC)
FIRST, SECOND = (Partition("webhook.messages", f"topic-1/{number}") for number in (0, 1))


def nowhere(_: Partition) -> Standing:
    return Standing(0, 0, 0)


def stored(directory: Path, name: str = "2026-03-14") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / f"{name}_checkpoint.json").read_bytes())
    return found


def test_what_is_told_while_a_write_is_under_way_is_in_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", tmp_path)
    write = CheckpointFile.write

    def write_and_hear(file: CheckpointFile, checkpoint: Checkpoint, now: datetime.datetime) -> None:
        write(file, checkpoint, now)
        checkpoints.failed([SECOND], "no space")

    checkpoints.failed([FIRST], "no space")
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointFile, "write", write_and_hear)
        checkpoints.gather(nowhere)
        assert set(checkpoints.write({FIRST: 1, SECOND: 1}, NOW, nowhere)) == {FIRST}
    checkpoints.gather(nowhere)
    assert set(checkpoints.write({FIRST: 1, SECOND: 1}, NOW, nowhere)) == {FIRST, SECOND}
    found = [json.loads(path.read_bytes()) for path in sorted((tmp_path / "checkpoints").glob("*.json"))]
    assert [(one["status"], one["error_message"]) for one in found] == [("failed", "no space")] * 2


def report(checkpoints: Checkpoints, landing: Landing, lag: int = 0) -> None:
    checkpoints.gather(landing.lander.standing)
    checkpoints.write({DAY: lag}, NOW, landing.lander.standing)


def land(landing: Landing, checkpoints: Checkpoints, *ids: str) -> None:
    start = landing.lander.position(DAY)
    batch = build([landing.chunk([message(one) for one in ids], DAY, start)], ingested_at_s=NOW_S)
    landing.lander.commit(batch)
    checkpoints.landed(batch)


def test_states_follow_what_is_left_to_read(landing: Landing) -> None:
    """LAKE-6: processing while there is more, completed at the end, failed with its reason, processing again."""
    directory = landing.root / "checkpoints"
    checkpoints = Checkpoints(directory, landing.root)
    land(landing, checkpoints, "1", "2")
    report(checkpoints, landing, lag=3)
    assert stored(directory) == {
        "source_file": str(landing.root / "messages" / "raw" / "2026-03-14.jsonl"),
        "last_processed_line": 2,
        "last_processed_msg_id": "2",
        "last_processed_timestamp": 1_773_457_547,
        "processed_record_count": 2,
        "checkpoint_time": "2026-03-14T12:00:00Z",
        "status": "processing",
        "error_message": "",
    }
    checkpoints.failed([DAY], "no space")
    report(checkpoints, landing, lag=3)
    assert (stored(directory)["status"], stored(directory)["error_message"]) == ("failed", "no space")
    land(landing, checkpoints, "3")
    report(checkpoints, landing, lag=2)
    assert (stored(directory)["status"], stored(directory)["error_message"]) == ("processing", "")
    report(checkpoints, landing)
    assert stored(directory)["status"] == "completed"


def test_the_slower_of_two_drivers_does_not_set_a_checkpoint_back(
    landing: Landing, another: Callable[[], Landing]
) -> None:
    """Both report one journal: the count is that of the lake, and the line never goes back."""
    directory = landing.root / "checkpoints"
    slow, fast = Checkpoints(directory, landing.root), Checkpoints(directory, landing.root)
    other = another()
    land(landing, slow, "1", "2")
    slow.gather(landing.lander.standing)  # and then it is stopped, before it writes
    land(other, fast, "3")
    report(fast, other)
    slow.write({}, NOW, landing.lander.standing)
    found = stored(directory)
    assert (found["last_processed_line"], found["processed_record_count"]) == (3, 3)
    assert found["last_processed_msg_id"] == "3"


def test_a_journal_read_anew_sets_its_checkpoint_back(landing: Landing) -> None:
    """LAKE-70: the stored line is of a journal that is no more."""
    directory = landing.root / "checkpoints"
    checkpoints = Checkpoints(directory, landing.root)
    land(landing, checkpoints, "1", "2", "3")
    report(checkpoints, landing)
    landing.lander.restart(DAY)
    batch = build([landing.chunk([message("1")], DAY, 0)], ingested_at_s=NOW_S)
    landing.lander.commit(batch)
    checkpoints.landed(batch)
    report(checkpoints, landing)
    found = stored(directory)
    assert (found["last_processed_line"], found["processed_record_count"]) == (1, 4)


def test_a_checkpoint_that_a_crash_left_behind_is_mended_at_the_next_start(landing: Landing) -> None:
    """The lake had it, and the report was lost: cleanup waits for `completed`."""
    directory = landing.root / "checkpoints"
    land(landing, Checkpoints(directory, landing.root), "1", "2")
    fresh = Checkpoints(directory, landing.root)
    fresh.begun(DAY, 2)
    report(fresh, landing)
    assert (stored(directory)["last_processed_line"], stored(directory)["status"]) == (2, "completed")
    (directory / "2026-03-14_checkpoint.json").touch()
    untouched = (directory / "2026-03-14_checkpoint.json").stat().st_mtime_ns
    fresh.begun(DAY, 2)
    report(fresh, landing)
    assert (directory / "2026-03-14_checkpoint.json").stat().st_mtime_ns == untouched


def test_a_driver_that_was_stopped_while_it_wrote_does_not_hold_up_landing(landing: Landing) -> None:
    directory = landing.root / "checkpoints"
    checkpoints = Checkpoints(directory, landing.root)
    land(landing, checkpoints, "1")
    directory.mkdir()
    with (directory / ".2026-03-14_checkpoint.lock").open("a") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        report(checkpoints, landing)
        assert not list(directory.glob("*.json"))
    report(checkpoints, landing)
    assert stored(directory)["last_processed_line"] == 1
