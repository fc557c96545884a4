"""`millrace storage dump-parquet`, `ingest-message` and `deduplicate`, as a user types them (LAKE section 12)."""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from deltalake.exceptions import DeltaError
from typer.testing import CliRunner, Result

from ingest_service.land.held import HeldTable
from millrace_testkit.builders import contact, message
from millrace_testkit.model import compare, read_rows
from standalone.storage.cli import storage


class Lake:
    """Journals and lake of an installation that the options name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.raw = root / "messages" / "raw"

    def journal(self, day: str, *lines: bytes) -> None:
        self.raw.mkdir(parents=True, exist_ok=True)
        with (self.raw / f"{day}.jsonl").open("ab") as file:
            file.write(b"".join(line + b"\n" for line in lines))

    def run(self, command: str, *arguments: str, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(storage, [command, *arguments], input=stdin)

    def dump(self, *arguments: str) -> Result:
        return self.run("dump-parquet", *arguments)

    def ids(self) -> list[str]:
        return sorted(row["msg_id"] for row in read_rows(self.root / "parquet" / "messages"))


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command in this process logs to the stderr that its runner gave it, which is closed afterwards."""
    handlers = logging.root.handlers[:]
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setenv("MILLRACE_DATA", str(tmp_path))
    return Lake(tmp_path)


def parsed(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_dump_parquet_says_what_it_did_with_each_journal(lake: Lake) -> None:
    """dump-parquet, LAKE-130: the numbers are those after deduplication."""
    lake.journal("2026-03-14", message("1"), message("1"), b"{", contact("wxid_a", "A"))
    lake.journal("2026-03-15", message("1"), message("2"), b"")
    result = lake.dump()
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0][:5] == ["journal", "processed", "new", "duplicates", "rejected"]
    assert lines[1][:5] == ["2026-03-14.jsonl", "4", "1", "1", "1"]
    assert lines[2][:5] == ["2026-03-15.jsonl", "3", "1", "1", "0"]
    assert lines[3][:7] == ["total", "of", "2", "7", "2", "2", "1"]
    assert compare(lake.root) == []
    again = parsed(lake.dump("--json"))
    assert again["totals"]["lines"] == 0
    assert [one["checkpoint_offset"] for one in again["journals"]] == [4, 3]
    assert {"total_processed", "new_records", "deduplicated", "skipped_duplicates"} <= again["journals"][
        0
    ].keys()
    assert "error" not in again["journals"][0]
    overwritten = parsed(lake.dump("--overwrite", "--json", "--date", "2026-03-14", "--batch-size", "1"))
    assert overwritten["totals"] | {"rejected": 0} == {
        "lines": 4, "blank": 0, "rejected": 0, "contacts": 1, "other": 0, "messages": 0, "duplicates": 2,
    }  # fmt: skip
    assert overwritten["journals"][0]["errors"] == {"parse_error": 1}
    assert compare(lake.root) == []


def test_dump_parquet_takes_other_roots(lake: Lake, tmp_path: Path) -> None:
    """LAKE-2: what is not given lies beside what is."""
    elsewhere = Lake(tmp_path / "elsewhere")
    elsewhere.journal("2026-03-14", message("1"), b"{")
    target = tmp_path / "target"
    result = lake.dump("--raw-dir", str(elsewhere.raw), "--parquet-root", str(target / "lake"))
    assert result.exit_code == 0
    assert len(read_rows(target / "lake" / "messages")) == 1
    assert (target / "metadata" / "checkpoints" / "2026-03-14_checkpoint.json").exists()
    assert len(list((elsewhere.root / "messages" / "rejected").glob("*.jsonl"))) == 1
    assert not (lake.root / "parquet").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 66, "no journal"),
        (["--date", "2026-03-14"], 66, "2026-03-14"),
        (["--date", "14.3.2026"], 2, "date"),
        (["--batch-size", "0"], 2, "batch-size"),
        (["--overwrite", "--no-deduplicate"], 2, "overwrite"),
    ],
)
def test_dump_parquet_ends_with_the_sheet_s_codes(
    lake: Lake, arguments: list[str], code: int, said: str
) -> None:
    lake.raw.mkdir(parents=True)
    result = lake.dump(*arguments)
    assert result.exit_code == code
    assert said in result.stderr
    assert result.stdout == ""


def test_a_journal_that_cannot_be_read_holds_up_no_other(lake: Lake) -> None:
    (lake.raw / "2026-03-13.jsonl").mkdir(parents=True)
    lake.journal("2026-03-14", message("1"))
    result = lake.dump()
    assert result.exit_code == 74
    assert "2026-03-13.jsonl" in result.stderr
    assert "not read" in result.stdout
    assert lake.ids() == ["1"]


def test_a_lake_without_rights_ends_with_77(lake: Lake) -> None:
    """The Delta library tells of missing rights only in words; root, as whom tests may run, never lacks them."""
    lake.journal("2026-03-14", message("1"))
    (lake.root / "parquet").mkdir()
    forbidden = DeltaError(
        "Generic LocalFileSystem error: Unable to create dir: Permission denied (os error 13)"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HeldTable, "append", lambda *_, **__: (_ for _ in ()).throw(forbidden))
        result = lake.dump()
    assert result.exit_code == 77
    assert "Permission denied" in result.stderr
    assert lake.dump().exit_code == 0
    assert lake.ids() == ["1"]


def test_ingest_message_takes_it_from_each_source(lake: Lake) -> None:
    """ingest-message: -m, -f, and stdin by - or by nothing."""
    file = lake.root / "message.json"
    file.write_bytes(message("2"))
    first = lake.run("ingest-message", "-m", message("1", 1_772_668_800).decode())
    assert first.exit_code == 0
    assert [line.split() for line in first.stdout.splitlines()[1:]] == [
        ["rows", "written", "1"],
        ["partition", "messages", "2026-03-05"],
        ["checkpoint", "offset", "1"],
    ]
    assert lake.run("ingest-message", "-f", str(file)).exit_code == 0
    assert lake.run("ingest-message", stdin=message("3")).exit_code == 0
    last = parsed(lake.run("ingest-message", "-m", "-", "--json", stdin=message("4")))
    assert (last["rows_written"], last["checkpoint_offset"], last["line"]) == (1, 4, 4)
    repeat = lake.run("ingest-message", "--message-file", str(file))
    assert "rows written       0" in repeat.stdout
    doubled = parsed(lake.run("ingest-message", "-f", str(file), "--no-deduplicate", "--json"))
    assert doubled["rows_written"] == 1
    assert lake.ids() == ["1", "2", "2", "3", "4"]
    day = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    assert len((lake.raw / f"{day}.jsonl").read_bytes().splitlines()) == 6


@pytest.mark.parametrize(
    ("arguments", "stdin", "code"),
    [
        (["-m", "{}", "-f", "x"], None, 2),
        ([], b"", 2),
        (["-m", "{bad"], None, 65),
        (["-m", "[1]"], None, 65),
        (["-m", "-"], b"", 65),
        (["-m", message("1", 1_772_668_800_000).decode()], None, 65),
        (["-f", "/nowhere/message.json"], None, 66),
        (["-m", "{}", "--raw-file", "2020-01-01.jsonl"], None, 2),
    ],
)
def test_ingest_message_ends_with_the_sheet_s_codes(
    lake: Lake, arguments: list[str], stdin: bytes | None, code: int
) -> None:
    result = lake.run("ingest-message", *arguments, stdin=stdin)
    assert result.exit_code == code
    assert result.stderr
    assert lake.ids() == []


def test_deduplicate_takes_out_what_no_deduplicate_let_in(lake: Lake) -> None:
    lake.journal("2026-03-14", message("1"), message("1"), message("2"))
    assert lake.dump("--no-deduplicate").exit_code == 0
    copied = parsed(lake.run("deduplicate", "--output-root", str(lake.root / "copy"), "--json"))
    assert copied == {
        "total_records": 3,
        "unique_records": 2,
        "duplicates_removed": 1,
        "files_processed": 1,
        "partitions_processed": 1,
    }
    assert lake.ids() == ["1", "1", "2"]
    assert "duplicates removed  1" in lake.run("deduplicate", "--date", "2026-03-05").stdout
    assert lake.ids() == ["1", "2"]
    assert lake.run("deduplicate", "--date", "2026-03").exit_code == 2
    assert lake.run("deduplicate", "--parquet-root", str(lake.root / "nowhere")).exit_code == 66
