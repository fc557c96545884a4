"""Reading journals forward: every line once, whatever the block, the budget and the starting point."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_ports.journal import JournalReader, JournalRoot, JournalWriter, ReplacedError
from millrace_testkit.clock import ManualClock

DAY = "2026-03-14"
NOON_MS = 1_773_489_600_000
MIDNIGHT_MS = 1_773_446_400_000


@pytest.fixture
def root(tmp_path: Path) -> JournalRoot:
    return JournalRoot(tmp_path)


def read_all(reader: JournalReader, max_records: int = 1000, max_bytes: int = 1_000_000) -> list[bytes]:
    values: list[bytes] = []
    while (lines := reader.read(max_records=max_records, max_bytes=max_bytes)) is not None:
        assert lines.start == reader.position - len(lines.values)
        assert len(lines.received_at_ms) == len(lines.values) <= max_records
        assert lines.size == sum(map(len, lines.values)) + len(lines.values)
        assert lines.size <= max_bytes or len(lines.values) == 1
        values += lines.values
    return values


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")), max_size=40),
    position=st.integers(0, 45),
    max_records=st.integers(1, 10),
    max_bytes=st.integers(1, 100),
    tail=st.sampled_from([b"", b"torn"]),
)
def test_every_line_after_the_position_comes_once(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[bytes],
    position: int,
    max_records: int,
    max_bytes: int,
    tail: bytes,
) -> None:
    root = JournalRoot(tmp_path_factory.mktemp("journal"))
    content = b"".join(line + b"\n" for line in lines) + tail
    root.file(DAY).write_bytes(content)
    reader = JournalReader(root, DAY)
    available = reader.seek(position)
    if position <= len(lines):
        assert available == position
        assert read_all(reader, max_records, max_bytes) == lines[position:]
        assert reader.ahead() == 0
        rest = reader.read_tail(len(content))
        assert (list(rest.values) if rest else []) == ([tail] if tail else [])
        assert reader.end() == len(content)
    elif position == len(lines) + 1 and tail:  # consumed as the tail of a closed day
        assert available == position
        assert read_all(reader) == []
    else:
        assert available == len(lines)
    reader.close()


def test_lines_longer_than_a_block_are_whole(root: JournalRoot) -> None:
    lines = [b"a", b"b" * 20_000_000, b"", b"c" * 9_000_000]
    root.file(DAY).write_bytes(b"\n".join(lines) + b"\n")
    reader = JournalReader(root, DAY)
    reader.seek(0)
    assert read_all(reader, max_bytes=100_000) == lines
    reader.close()


def test_a_growing_journal_is_followed(root: JournalRoot) -> None:
    writer = JournalWriter(root, now_ms=ManualClock(NOON_MS).now_ms)
    writer.append([b"1"])
    reader = JournalReader(root, DAY)
    reader.seek(0)
    for number in range(2, 30):
        assert read_all(reader) == [b"%d" % (number - 1)]
        assert reader.ahead() == 0
        writer.append([b"%d" % number])
        assert reader.ahead() == 1
    reader.close()


def test_each_line_has_the_time_of_its_group(root: JournalRoot) -> None:
    clock = ManualClock(NOON_MS)
    writer = JournalWriter(root, now_ms=clock.now_ms)
    for size in (3, 1, 2):
        writer.append([b"x"] * size)
        clock.advance(1)
    expected = [NOON_MS] * 3 + [NOON_MS + 1000] + [NOON_MS + 2000] * 2
    for position in range(7):
        reader = JournalReader(root, DAY)
        reader.seek(position)
        times: list[int] = []
        while (lines := reader.read(max_records=2, max_bytes=1000)) is not None:
            times += lines.received_at_ms
        assert times == expected[position:]
        reader.close()


@pytest.mark.parametrize("damage", ["missing", "torn", "zeros"])
def test_a_damaged_sidecar_costs_exact_times_only(root: JournalRoot, damage: str) -> None:
    clock = ManualClock(NOON_MS)
    writer = JournalWriter(root, now_ms=clock.now_ms)
    writer.append([b"1"])
    clock.advance(1)
    writer.append([b"2"])
    writer.close()
    index = root.sidecar(DAY)
    match damage:
        case "missing":
            index.unlink()
            expected = [MIDNIGHT_MS, MIDNIGHT_MS]
        case "torn":
            index.write_bytes(index.read_bytes()[:-1])
            expected = [NOON_MS, NOON_MS]
        case _:
            index.write_bytes(index.read_bytes()[:24] + bytes(24))
            expected = [NOON_MS, NOON_MS]
    reader = JournalReader(root, DAY)
    reader.seek(0)
    lines = reader.read(max_records=10, max_bytes=1000)
    assert lines is not None
    assert (list(lines.values), list(lines.received_at_ms)) == ([b"1", b"2"], expected)
    reader.close()


def test_a_replaced_journal_is_noticed(root: JournalRoot) -> None:
    root.file(DAY).write_bytes(b"1\n2\n3\n")
    reader = JournalReader(root, DAY)
    reader.seek(0)
    read_all(reader)
    root.file(DAY).write_bytes(b"1\n")
    with pytest.raises(ReplacedError) as caught:
        reader.read(max_records=1, max_bytes=1)
    assert (caught.value.day, caught.value.available) == (DAY, 1)
    reader.close()
