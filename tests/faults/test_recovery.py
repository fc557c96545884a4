"""After a power cut: the newest files are short, or empty, or gone; the next start heals, and rows are exact."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from millrace_testkit.stack import Stack

from .conftest import SMALL_BATCHES, Accepted, Exact

pytestmark = pytest.mark.faults

Newest = Callable[[Path], Path]
Harm = Callable[[Path], None]

TABLES = ("messages", "contacts", "other", "dead_letters")


@pytest.fixture(scope="session")
def half_marked(tmp_path_factory: pytest.TempPathFactory, accepted: Accepted) -> Path:
    """A landed lake of which only the state after four fifths of the lines is marked durable."""
    with Stack.embedded(tmp_path_factory.mktemp("half-marked")) as stack:
        shutil.copytree(accepted.data, stack.data, dirs_exist_ok=True)
        journal = next((stack.data / "messages" / "raw").glob("*.jsonl"))
        lines = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(b"".join(lines[: len(lines) * 4 // 5]))
        mark = stack.data / "metadata" / "durable.json"
        for part in (b"", b"".join(lines[len(lines) * 4 // 5 :])):
            with journal.open("ab") as file:
                file.write(part)
            writer = stack.lake_writer(**SMALL_BATCHES)
            stack.wait_landed()
            writer.stop()
            if not part:
                marked = mark.read_bytes()
        mark.write_bytes(marked)
        return stack.data


@pytest.fixture
def cut(stack: Stack, half_marked: Path) -> Stack:
    """An installation whose power is about to have been cut."""
    shutil.copytree(half_marked, stack.data, dirs_exist_ok=True)
    return stack


def newest_file(table: Path) -> Path:
    """The data file that the newest commit with one added."""
    log = sorted((table / "_delta_log").glob("*.json"), reverse=True)
    for entry in log:
        for line in entry.read_bytes().splitlines():
            if "add" in (action := msgspec.json.decode(line)):
                return table / str(action["add"]["path"]).replace("%3D", "=")
    raise AssertionError(f"no file in {table}")


def newest_entry(table: Path) -> Path:
    """The newest log entry."""
    return max((table / "_delta_log").glob("*.json"))


def shorten(file: Path) -> None:
    """The end never reached the disk."""
    os.truncate(file, file.stat().st_size - 10)


def blank(file: Path) -> None:
    """The size reached the disk, the content did not."""
    file.write_bytes(bytes(file.stat().st_size))


def empty(file: Path) -> None:
    """Only the name reached the disk."""
    os.truncate(file, 0)


HARMS: dict[str, tuple[Newest, Harm]] = {
    "file-short": (newest_file, shorten),
    "file-blank": (newest_file, blank),
    "file-gone": (newest_file, Path.unlink),
    "entry-empty": (newest_entry, empty),
    "entry-short": (newest_entry, shorten),
}


@pytest.mark.parametrize(
    ("table", "harmed"),
    [("messages", harm) for harm in HARMS]
    + [(table, harm) for table in TABLES[1:] for harm in ("file-gone", "entry-empty")],
)
def test_a_start_after_a_power_cut_heals_the_lake(
    cut: Stack, accepted: Accepted, assert_exact: Exact, table: str, harmed: str
) -> None:
    newest, harm = HARMS[harmed]
    harm(newest(cut.data / "parquet" / table))
    writer = cut.lake_writer(**SMALL_BATCHES).wait_ready()
    cut.wait_landed()
    assert "lake_commits_taken_back" in writer.log()
    writer.stop()
    assert_exact(cut.data, accepted.bodies)


def test_a_power_cut_that_harms_every_table_heals_too(
    cut: Stack, accepted: Accepted, assert_exact: Exact
) -> None:
    for table in TABLES:
        empty(newest_entry(cut.data / "parquet" / table))
        shorten(newest_file(cut.data / "parquet" / table))
    cut.lake_writer(**SMALL_BATCHES).wait_ready()
    cut.wait_landed()
    assert_exact(cut.data, accepted.bodies)


def test_a_side_table_that_lost_an_earlier_batch_than_messages_did_heals_too(
    cut: Stack, accepted: Accepted, assert_exact: Exact
) -> None:
    lake = cut.data / "parquet"
    mark = msgspec.json.decode((cut.data / "metadata" / "durable.json").read_bytes(), type=dict[str, int])
    first_unmarked = lake / "other" / "_delta_log" / f"{mark['other'] + 1:020}.json"
    newest = newest_entry(lake / "messages")
    assert int(newest.stem) > mark["messages"] + 1
    empty(first_unmarked)
    empty(newest)
    cut.lake_writer(**SMALL_BATCHES).wait_ready()
    cut.wait_landed()
    assert_exact(cut.data, accepted.bodies)


@pytest.mark.parametrize("table", TABLES)
def test_a_power_cut_before_anything_was_marked_durable_heals_too(
    cut: Stack, accepted: Accepted, assert_exact: Exact, table: str
) -> None:
    (cut.data / "metadata" / "durable.json").unlink()
    empty(newest_entry(cut.data / "parquet" / table))
    cut.lake_writer(**SMALL_BATCHES).wait_ready()
    cut.wait_landed()
    assert_exact(cut.data, accepted.bodies)
