"""Where a row comes from, how it went, where it is, and which repeats were dropped for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from deltalake import DeltaTable

from ingest_service.errors import NotFoundError
from ingest_service.keep.archive import archive
from ingest_service.lake.log import entry, read_commit
from ingest_service.lake.tables import Lake
from ingest_service.proof import repeats
from ingest_service.proof.trace import Trace, trace
from millrace_ports.journal import JournalRoot, JournalWriter
from millrace_testkit.builders import FIRST_SECOND, batch, data_of, message

from ..conftest import DAY, Installation

RECEIVED_MS = 1_773_446_400_000 + 3_600_000  # 2026-03-14T01:00:00Z


def append(installation: Installation, at_ms: int, *lines: bytes) -> None:
    """As the door does it, with the times of receipt beside the journal."""
    writer = JournalWriter(JournalRoot(installation.raw), now_ms=lambda: at_ms)
    writer.append(lines)
    writer.close()


def traced(installation: Installation, msg_id: str) -> Trace:
    return trace(msg_id, installation.parquet, installation.raw)


@pytest.fixture
def filled(installation: Installation) -> Installation:
    """Two groups on the 14th, a repeat in the second; another in a batch on the 15th, after what only looks so."""
    append(installation, RECEIVED_MS, message("1"), message("2"))
    append(installation, RECEIVED_MS + 5000, message("3"), message("2", content="again"))
    later = RECEIVED_MS + 86_400_000
    append(
        installation,
        later,
        message("4", content='{"msg_id": "2"}'),
        batch(data_of("5", FIRST_SECOND), data_of("2", FIRST_SECOND)),
    )
    installation.ingest()
    return installation


def test_line_commit_and_file_of_a_row(filled: Installation) -> None:
    found = traced(filled, "2")
    assert found.accepted is not None
    assert (Path(found.accepted.journal).name, found.accepted.line) == (f"{DAY}.jsonl", 2)
    assert found.accepted.received_at_ms == RECEIVED_MS
    assert found.landed is not None
    commit = read_commit(filled.parquet / "messages", found.landed.version)
    assert found.landed.file in [added.path for added in commit.added]
    assert found.landed.committed_at_ms == commit.time_ms is not None
    assert found.file == str(filled.parquet / "messages" / found.landed.file)
    assert Path(found.file).is_file()
    assert (found.relayed, found.rewritten, found.archived, found.unknown) == (None, [], False, [])
    later = traced(filled, "5")
    assert later.accepted is not None
    assert (later.accepted.line, later.accepted.received_at_ms) == (2, RECEIVED_MS + 86_400_000)


def test_repeats_and_where_from(filled: Installation) -> None:
    """LAKE-64: what was dropped is named by journal, line and time; a text that looks like an id is no message."""
    found = traced(filled, "2")
    assert [(Path(one.journal).name, one.line, one.element, one.received_at_ms) for one in found.repeats] == [
        (f"{DAY}.jsonl", 4, 0, RECEIVED_MS + 5000),
        ("2026-03-15.jsonl", 2, 1, RECEIVED_MS + 86_400_000),
    ]
    assert traced(filled, "1").repeats == []


@pytest.mark.parametrize("block", [1, 7, 64, 8 << 20])
def test_blocks_of_any_size_find_the_same(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    msg_id = 'a"ü🙏'
    lines = [message("1"), message(msg_id), b"", message("2"), message(msg_id), batch(data_of(msg_id, 1))]
    escaped = message(msg_id).decode().encode("ascii", "backslashreplace").replace(b"\\xfc", b"\\u00fc")
    escaped = escaped.replace(b"\\U0001f64f", b"\\ud83d\\ude4f").replace(b"\\u4f60\\u597d", b"hi")
    installation.journal(*lines, escaped, end=b"")
    (installation.raw / ".door").write_text("door-1\n")
    monkeypatch.setattr(repeats, "_BLOCK", block)
    read: list[int] = []
    found = list(repeats.occurrences(JournalRoot(installation.raw), DAY, msg_id, read.append))
    assert [one.line for one in found] == [2, 5, 6, 7]
    assert sum(read) == (installation.raw / f"{DAY}.jsonl").stat().st_size


def test_after_a_compaction_both_commits_are_known(filled: Installation) -> None:
    landed = traced(filled, "2").landed
    table = DeltaTable(str(filled.parquet / "messages"))
    table.optimize.compact()
    found = traced(filled, "2")
    assert found.landed == landed is not None
    if found.file != str(filled.parquet / "messages" / landed.file):
        assert [step.version for step in found.rewritten] == [table.version()]
    # The first file is removed by a vacuum: the lake's position in the journal tells the commit all the same.
    filled.journal(message("7"), message("8"), day="2026-03-16")
    filled.ingest()
    DeltaTable(str(filled.parquet / "messages")).optimize.compact()
    (filled.parquet / "messages" / landed.file).unlink()
    again = traced(filled, "2")
    assert again.landed == landed
    assert again.rewritten
    assert again.unknown == []


def test_what_cannot_be_known_is_said(filled: Installation) -> None:
    DeltaTable(str(filled.parquet / "messages")).create_checkpoint()
    for version in range(DeltaTable(str(filled.parquet / "messages")).version()):
        entry(filled.parquet / "messages", version).unlink(missing_ok=True)
    newest = DeltaTable(str(filled.parquet / "messages"))
    assert newest.version() > 0
    for file in filled.raw.glob("*.jsonl"):
        file.unlink()
    found = traced(filled, "2")
    assert found.row is not None
    assert found.accepted is not None
    assert found.accepted.received_at_ms is None
    text = "\n".join(found.unknown)
    assert "cleaned up" in text
    assert "no journal is here" not in text or found.repeats == []


def test_an_unknown_id_and_one_that_waits(filled: Installation) -> None:
    with pytest.raises(NotFoundError, match="no row and no line"):
        traced(filled, "99")
    append(filled, RECEIVED_MS + 2 * 86_400_000, message("6"))
    found = traced(filled, "6")
    assert (found.row, len(found.repeats)) == (None, 1)


def test_an_archived_row(filled: Installation) -> None:
    metadata = filled.root / "metadata"
    archive(Lake(filled.parquet), metadata, today=filled.clock.now().date(), older_than_days=0)
    found = traced(filled, "2")
    assert found.archived
    assert found.file is not None
    assert found.file.startswith(str(filled.root / "archive" / "messages"))
    assert found.moved_to_archive is not None
    assert found.accepted is not None
    assert found.accepted.received_at_ms == RECEIVED_MS
    assert any("archived" in sentence for sentence in found.unknown)
