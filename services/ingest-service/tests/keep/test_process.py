"""The maintenance process as a whole: killed at its worst moments, it leaves every row once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ingest_service.keep.compaction import live_files
from ingest_service.lake.tables import Lake
from millrace_testkit.othertable import OtherTable
from millrace_testkit.ports import free_offset


def start(data: Path, **environment: str) -> subprocess.Popen[bytes]:
    """The process on free ports, with small limits and no grace."""
    settings = {
        "DATA": str(data),
        "COORDINATION": f"local:{data / 'metadata' / 'coordination'}",
        "PORT_OFFSET": str(free_offset()),
        "COMPACT_ABOVE_FILES": "5",
        "VACUUM_GRACE_HOURS": "0",
        "MAINTENANCE_INTERVAL_S": "0.05",
        "MAINTENANCE_LEASE_S": "1",
        **environment,
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
    return subprocess.Popen(
        [sys.executable, "-m", "ingest_service.processes.maintenance"],
        env=clean | {f"MILLRACE_{name}": value for name, value in settings.items()},
    )


@pytest.mark.faults
@pytest.mark.parametrize(
    "moment", ["BEFORE_COMPACTION", "DURING_COMPACTION", "AFTER_COMPACTION_SYNC", "DURING_VACUUM#3"]
)
def test_a_killed_keeper_loses_and_doubles_nothing_and_the_next_one_ends_the_work(
    lake: Lake, other: OtherTable, moment: str
) -> None:
    other.append(range(1, 9))
    data = lake.root.parent
    with start(data, CRASH_AT=moment) as killed:
        assert killed.wait(30) == -signal.SIGKILL
    assert other.lines() == list(range(1, 9))
    with start(data) as healthy:
        try:
            deadline = time.monotonic() + 30
            while (live_files(other.handle()), len(other.data_files())) != (1, 1):
                assert time.monotonic() < deadline
                time.sleep(0.05)  # another process does the work
            healthy.terminate()
            assert healthy.wait(30) == 0
        finally:
            healthy.kill()
    assert other.lines() == list(range(1, 9))
