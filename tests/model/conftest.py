"""Journals written by hand, and lakes written to match them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingest_service.lake.tables import Lake
from ingest_service.land.batch import build
from ingest_service.land.index.index import KeyIndex
from ingest_service.land.lander import Lander
from millrace_ports.bus.port import Chunk, Partition
from millrace_testkit.model import Expected, expect, read_journal

Told = Callable[..., Expected]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """What the model says of these lines (dicts, texts or bytes), all in the journal of one day."""

    def tell(*lines: dict[str, Any] | str | bytes, day: str = "2026-03-14", end: bytes = b"\n") -> Expected:
        root = tmp_path / "messages" / "raw"
        root.mkdir(parents=True, exist_ok=True)
        (root / ".door").write_text("door-a\n")
        (root / f"{day}.jsonl").write_bytes(b"\n".join(map(_encoded, lines)) + end)
        return expect(read_journal(root, today="2026-03-20").lines)

    return tell


def _encoded(line: dict[str, Any] | str | bytes) -> bytes:
    if isinstance(line, dict):
        line = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
    return line.encode() if isinstance(line, str) else line


@pytest.fixture(scope="session")
def landed() -> Callable[..., None]:
    """`landed(data, lines, cut=0)`: the lines as a journal below `data`, landed in two batches."""
    return _land


def _land(data: Path, lines: list[bytes], cut: int = 0) -> None:
    """Write the journal and land it in two batches."""
    raw = data / "messages" / "raw"
    raw.mkdir(parents=True)
    (raw / ".door").write_text("door\n")
    (raw / "2026-03-14.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    lake = Lake(data / "parquet")
    lake.root.mkdir()
    index = KeyIndex(lake.path("messages"), data / "metadata" / "key_index")
    lander = Lander(lake, index, reject=lambda letters: None, now_s=lambda: 1773500000)
    partition = Partition("webhook.messages", "door/2026-03-14")
    for start, end in ((0, cut), (cut, len(lines))):
        if start == end:
            continue
        chunk = Chunk(
            partition, start, end, lines[start:end], range(start + 1, end + 1),
            [1773490000000 + line for line in range(start, end)],
        )  # fmt: skip
        lander.position(partition)
        lander.commit(build([chunk], ingested_at_s=1773500000))
    lander.close()
