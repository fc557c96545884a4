"""A directory with journals and a lake, driven by the library alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ingest_service.ingest import ingest_directory
from ingest_service.ingest.results import IngestResult
from ingest_service.ingest.session import Timing
from millrace_testkit.builders import FIRST_SECOND, message
from millrace_testkit.clock import ManualClock
from millrace_testkit.model import read_rows

DAY = "2026-03-14"
NOW_MS = 1_773_792_000_000  # 2026-03-18


class Installation:
    """Journals, lake and metadata below one root, with a clock that stands in March 2026 and a sleep that notes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.raw = root / "messages" / "raw"
        self.parquet = root / "parquet"
        self.checkpoints = root / "metadata" / "checkpoints"
        self.clock = ManualClock(NOW_MS)
        self.slept: list[float] = []
        self.timing = Timing(self.clock, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)

    def journal(self, *lines: bytes, day: str = DAY, end: bytes = b"\n") -> Path:
        """Appends lines, without a door."""
        self.raw.mkdir(parents=True, exist_ok=True)
        path = self.raw / f"{day}.jsonl"
        with path.open("ab") as file:
            file.write(b"\n".join(lines) + end)
        return path

    def ingest(self, **options: Any) -> list[IngestResult]:
        """Everything that is new, journal by journal."""
        report = ingest_directory(self.raw, self.parquet, self.checkpoints, timing=self.timing, **options)
        return [one.result for one in report.journals if one.result is not None]

    def checkpoint(self, day: str = DAY) -> dict[str, Any]:
        """The stored checkpoint."""
        content = (self.checkpoints / f"{day}_checkpoint.json").read_bytes()
        found: dict[str, Any] = json.loads(content)
        return found

    def rows(self, table: str = "messages") -> list[dict[str, Any]]:
        """All rows of a table, in journal order."""
        rows = read_rows(self.parquet / table)
        return sorted(rows, key=lambda row: (row["src_file"], row["src_line"], row["src_element"]))

    def ids(self) -> list[str]:
        """msg_ids in journal order."""
        return [row["msg_id"] for row in self.rows()]


def messages(numbers: Sequence[int]) -> list[bytes]:
    """One message for each number."""
    return [message(str(number), FIRST_SECOND + number) for number in numbers]


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)
