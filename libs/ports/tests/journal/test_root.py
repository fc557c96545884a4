"""Names and identity of a journal root."""

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_ports.errors import StorageUnavailableError
from millrace_ports.journal import JournalRoot, day_of, midnight_ms


def test_the_door_is_made_once_and_kept(tmp_path: Path) -> None:
    door = JournalRoot(tmp_path / "raw").door
    assert door.startswith("door-")
    assert JournalRoot(tmp_path / "raw").door == door
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == [".door"]


def test_all_who_start_together_get_one_door(tmp_path: Path) -> None:
    doors: list[str] = []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        doors.append(JournalRoot(tmp_path).door)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(doors) == 8
    assert len(set(doors)) == 1


def test_a_place_that_cannot_be_a_root_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageUnavailableError, match="Not a directory"):
        _ = JournalRoot(tmp_path / "file" / "raw").door


def test_days_are_the_journals_only(tmp_path: Path) -> None:
    for name in ("2026-03-15.jsonl", "2026-03-14.jsonl", "2026-02-30.jsonl", ".2026-03-14.idx", "x.jsonl"):
        (tmp_path / name).touch()
    assert JournalRoot(tmp_path).days() == ["2026-03-14", "2026-03-15"]
    assert JournalRoot(tmp_path / "none").days() == []


@given(st.integers(min_value=0, max_value=4_102_444_799_999))
def test_a_moment_lies_within_its_day(now_ms: int) -> None:
    assert 0 <= now_ms - midnight_ms(day_of(now_ms)) < 86_400_000
