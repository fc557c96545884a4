"""Checkpoints while batches land: what is told during a write is in the next one."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from ingest_service.land import reports
from ingest_service.land.reports import Checkpoints
from millrace_ports.bus.port import Partition

NOW = datetime.datetime(2026, 3, 14, 12, tzinfo=datetime.UTC)
FIRST, SECOND = (Partition("webhook.messages", f"topic-1/{number}") for number in (0, 1))


def test_what_is_told_while_a_write_is_under_way_is_in_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", tmp_path)
    write = reports.write_durably

    def write_and_hear(path: Path, parts: Any) -> None:
        write(path, parts)
        checkpoints.failed([SECOND], "no space")

    checkpoints.failed([FIRST], "no space")
    with monkeypatch.context() as patch:
        patch.setattr(reports, "write_durably", write_and_hear)
        assert set(checkpoints.write({FIRST: 1, SECOND: 1}, NOW)) == {FIRST}
    assert set(checkpoints.write({FIRST: 1, SECOND: 1}, NOW)) == {FIRST, SECOND}
    stored = [json.loads(path.read_bytes()) for path in sorted((tmp_path / "checkpoints").glob("*.json"))]
    assert [(one["status"], one["error_message"]) for one in stored] == [("failed", "no space")] * 2
