"""A disk that is full (LAKE-66, LAKE-67, LAKE-S16): on a small file system of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ingest_service.errors import StorageIoError
from ingest_service.ingest import incremental_ingest
from ingest_service.ingest.results import IngestResult
from millrace_testkit.builders import message

from .conftest import NOW_MS, Installation

pytestmark = pytest.mark.faults
LINES = 1200


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """4 MiB, which are a third of what the journal needs."""
    path = tmp_path / "volume"
    path.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "millrace-test", str(path)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    if made.returncode != 0:
        refuse = pytest.fail if os.environ.get("MILLRACE_REQUIRE_REAL") == "1" else pytest.skip
        refuse(f"no small file system to be had: {made.stderr.strip()}")
    yield path
    subprocess.run(["umount", str(path)], timeout=30, check=True)


@pytest.fixture
def cramped(tmp_path: Path, volume: Path) -> Installation:
    """Journals on the large disk, the lake and everything beside it on the small one."""
    installation = Installation(tmp_path)
    installation.parquet = volume / "parquet"
    installation.checkpoints = volume / "metadata" / "checkpoints"
    installation.journal(*(message(str(n), content=os.urandom(4000).hex()) for n in range(LINES)))
    return installation


def run(installation: Installation) -> IngestResult:
    journal = next(installation.raw.glob("*.jsonl"))
    return incremental_ingest(
        journal, installation.parquet, installation.checkpoints, 6, timing=installation.timing
    )


def grow(volume: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", str(volume)], timeout=30, check=True)


def test_it_tries_again_says_failed_and_goes_on_later(cramped: Installation, volume: Path) -> None:
    with pytest.raises(StorageIoError, match="No space left") as full:
        run(cramped)
    # Then: three more attempts, 1, 2 and 4 s apart by the clock that was handed in, and exit code 74.
    assert cramped.slept == [1.0, 2.0, 4.0]
    assert cramped.clock.now_ms() == NOW_MS + 7000
    assert full.value.exit_code == 74
    checkpoint = cramped.checkpoint()
    assert checkpoint["status"] == "failed"
    assert "No space left" in checkpoint["error_message"]
    # What is there is whole: no file of a write that failed, and each one a row group can be read of.
    rows = 0
    for file in [path for path in cramped.parquet.rglob("*") if path.is_file()]:
        assert file.suffix in (".parquet", ".json"), file
        if file.parts[-5] == "messages":
            rows += pq.read_table(file).num_rows
    assert 0 < rows == len(cramped.rows()) < LINES
    assert checkpoint["last_processed_line"] == rows

    grow(volume)
    result = run(cramped)
    assert result.total_processed == LINES - rows
    assert result.accounting.add_up()
    assert sorted(map(int, cramped.ids())) == list(range(LINES))
    done = cramped.checkpoint()
    assert (done["status"], done["error_message"]) == ("completed", "")
    assert (done["last_processed_line"], done["processed_record_count"]) == (LINES, LINES)


def test_not_a_byte_left_before_it_begins(cramped: Installation, volume: Path) -> None:
    """Nothing of it can be written but, over itself, a checkpoint that is there."""
    cramped.checkpoints.mkdir(parents=True)
    grow(volume)
    small = cramped.journal(message("a"), day="2026-03-01")
    incremental_ingest(small, cramped.parquet, cramped.checkpoints, timing=cramped.timing)
    cramped.journal(message("b", content=os.urandom(40_000).hex()), day="2026-03-01")
    ballast = volume / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    with pytest.raises(StorageIoError, match="No space left"):
        incremental_ingest(small, cramped.parquet, cramped.checkpoints, timing=cramped.timing)
    assert cramped.checkpoint("2026-03-01")["status"] == "failed"
    ballast.unlink()
    done = incremental_ingest(small, cramped.parquet, cramped.checkpoints, timing=cramped.timing)
    assert (done.deduplicated, cramped.checkpoint("2026-03-01")["status"]) == (1, "completed")
    assert cramped.ids() == ["a", "b"]
