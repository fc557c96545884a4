"""Trace contexts beside the journal: told with their lines as often as these are read, and never with others."""

import asyncio
import os
from pathlib import Path

import pytest

from millrace_ports.errors import InvalidRecordError, StorageUnavailableError
from millrace_ports.journal import GroupCommitter, JournalReader, JournalRoot, JournalWriter
from millrace_testkit.clock import ManualClock

NOON_MS = 1_773_489_600_000
DAY = "2026-03-14"


def context(number: int) -> str:
    return f"00-{number:032x}-{number:016x}-01"


@pytest.fixture
def root(tmp_path: Path) -> JournalRoot:
    return JournalRoot(tmp_path / "raw")


def opened(root: JournalRoot) -> JournalWriter:
    return JournalWriter(root, now_ms=ManualClock(NOON_MS).now_ms)


def told(root: JournalRoot, position: int = 0, *, max_records: int = 100) -> dict[int, str]:
    """What a reader from `position` on is told of all lines."""
    reader = JournalReader(root, DAY, traced=True)
    assert reader.seek(position) == position
    found: dict[int, str] = {}
    while (lines := reader.read(max_records=max_records, max_bytes=1_000_000)) is not None:
        assert lines.traceparents is not None
        found |= lines.traceparents
    reader.close()
    return found


def test_lines_come_with_their_contexts_however_often_they_are_read(root: JournalRoot) -> None:
    writer = opened(root)
    writer.append([b"1", b"2"], {1: context(2)})
    writer.append([b"3"])
    writer.append([b"4", "五".encode(), b"6"], {0: context(4), 2: context(6)})
    for position, expected in {0: [2, 4, 6], 2: [4, 6], 4: [6], 6: []}.items():
        for max_records in (1, 2, 100):
            contexts = {line: context(line) for line in expected}
            assert told(root, position, max_records=max_records) == contexts


def test_who_does_not_ask_is_not_told_and_who_never_sampled_has_no_file(root: JournalRoot) -> None:
    opened(root).append([b"1"])
    assert not root.traces(DAY).exists()
    assert told(root) == {}
    opened(root).append([b"2"], {0: context(2)})
    reader = JournalReader(root, DAY)
    reader.seek(0)
    lines = reader.read(max_records=10, max_bytes=1000)
    assert lines is not None
    assert lines.traceparents is None
    reader.close()


def test_a_growing_journal_of_several_writers_is_followed(root: JournalRoot) -> None:
    writers = [opened(root), opened(root)]
    reader = JournalReader(root, DAY, traced=True)
    writers[0].append([b"1"])
    reader.seek(0)
    for line in range(2, 40):
        writers[line % 2].append([b"%d" % line], {0: context(line)} if line % 3 else None)
        found = {}
        while (lines := reader.read(max_records=10, max_bytes=1000)) is not None:
            found |= lines.traceparents or {}
        assert found == ({line: context(line)} if line % 3 else {})
    reader.close()


@pytest.mark.parametrize("left", ["1\n2\n", "1\n2\n3 to", "1\n2\n3 torn\n", "1\n2\n3 torn\n4\n5"])
def test_lines_that_a_power_cut_took_leave_no_context_to_others(root: JournalRoot, left: str) -> None:
    writer = opened(root)
    writer.append([b"1", b"2"], {1: context(2)})
    writer.append([b"3 torn", b"4", b"5"], {0: context(3), 1: context(4), 2: context(5)})
    writer.close()
    root.file(DAY).write_bytes(left.encode())

    opened(root).append([b"other"] * 4)
    # A line that is there in part keeps its number and its context.
    assert told(root) == {line: context(line) for line in range(2, len(left.splitlines()) + 1)}


def test_an_append_that_failed_leaves_no_context_to_the_next_line(
    root: JournalRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = opened(root)
    writer.append([b"1"])
    with monkeypatch.context() as broken:

        def refuse(descriptor: int, data: bytes) -> int:
            raise OSError(28, "No space left on device")

        broken.setattr(os, "write", refuse)
        with pytest.raises(StorageUnavailableError, match="No space"):
            writer.append([b"refused"], {0: context(2)})
    writer.append([b"2"])
    writer.append([b"3"], {0: context(3)})
    assert told(root) == {3: context(3)}


@pytest.mark.parametrize("damage", ["missing", "torn", "zeros", "garbage", "directory"])
def test_a_damaged_file_costs_traces_only(root: JournalRoot, damage: str) -> None:
    writer = opened(root)
    writer.append([b"1"], {0: context(1)})
    writer.append([b"2"], {0: context(2)})
    writer.close()
    file = root.traces(DAY)
    match damage:
        case "missing":
            file.unlink()
        case "torn":
            file.write_bytes(file.read_bytes()[:-1])
        case "zeros":
            file.write_bytes(file.read_bytes()[: len(file.read_bytes()) // 2] + bytes(72))
        case "garbage":
            file.write_bytes(b"\xff" * 200)
        case _:
            file.unlink()
            file.mkdir()
    expected = {1: context(1)} if damage in ("torn", "zeros") else {}
    assert told(root) == expected
    assert opened(root).append([b"3"], {0: context(3)}).first_line == 3
    if damage == "torn":
        assert told(root) == {1: context(1), 3: context(3)}


async def test_a_group_keeps_the_contexts_of_its_callers_apart(root: JournalRoot) -> None:
    committer = GroupCommitter(opened(root))
    sampled = {number: {1: context(number)} for number in range(0, 60, 7)}
    answers = await asyncio.gather(
        *(
            committer.append_all([b"first", b"%d" % number], sampled.get(number, {}))
            for number in range(1, 60)
        ),
        return_exceptions=True,
    )
    bad = await asyncio.gather(
        committer.append_all([b"two\nlines"], {0: context(99)}),
        committer.append_all([b"good"], {0: context(100)}),
        return_exceptions=True,
    )
    await committer.close()
    assert isinstance(bad[0], InvalidRecordError)
    assert not isinstance(bad[1], BaseException)
    expected = {bad[1][1]: context(100)}
    for number, answer in zip(range(1, 60), answers, strict=True):
        assert not isinstance(answer, BaseException)
        if number in sampled:
            expected[answer[1] + 1] = context(number)
    assert told(root) == expected
