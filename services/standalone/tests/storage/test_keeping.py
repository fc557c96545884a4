"""`millrace storage archive`, `cleanup` and `stats`: options, what they print, how they end (LAKE section 12)."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from millrace_testkit.messages_lake import MessagesLake
from millrace_testkit.model.tables import read_rows

from .conftest import Command, days_ago, result


def test_archive_moves_what_is_older_than_90_days(storage: Command, lake: MessagesLake, data: Path) -> None:
    """LAKE-S12, LAKE-110."""
    lake.append(days_ago(89), days_ago(90), days_ago(91))
    done = storage("archive", "--json")
    assert done.exit_code == 0, done.stderr
    found = result(done)
    assert (found["archived_partitions"], found["partitions"][0]["rows"], found["failed"]) == (1, 1, [])
    assert {"total_size_before_mb", "total_size_after_mb", "compression_ratio"} <= found.keys()
    assert len(read_rows(data / "archive" / "messages")) == 1
    assert storage("archive").stdout.split() == [
        "partitions", "0", "MB", "before", "0.00", "MB", "after", "0.00", "ratio", "0.00",
    ]  # fmt: skip


def test_what_is_archived_can_be_asked_for_and_leaves_a_valid_lake(
    storage: Command, lake: MessagesLake, data: Path
) -> None:
    """LAKE-S12: still queryable; and the next check of the lake finds nothing."""
    lake.append(days_ago(1), days_ago(91))
    assert storage("archive").exit_code == 0

    archived = (datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=91)).isoformat()
    asked = storage("query", "--start", archived, "--end", archived, "--json")
    assert result(asked)["total"] == 1

    checked = storage("validate", "--all", "--json")
    assert checked.exit_code == 0, checked.stdout
    assert len(result(checked)["partitions"]) == 1
    assert storage("validate", "--all", "--parquet-root", data / "archive").exit_code == 0
    assert storage("detect-duplicates").exit_code == 0


def test_archive_takes_its_roots_age_and_level(storage: Command, lake: MessagesLake, tmp_path: Path) -> None:
    """LAKE-2."""
    lake.append(days_ago(3), days_ago(5))
    elsewhere = tmp_path / "elsewhere"
    done = storage(
        "archive", "--parquet-root", lake.root, "--archive-root", elsewhere, "--older-than-days", 4,
        "--compression-level", 1, "--json",
    )  # fmt: skip
    assert result(done)["archived_partitions"] == 1
    assert len(read_rows(elsewhere / "messages")) == 1
    assert not (lake.root.parent / "archive").exists()


def test_a_day_that_cannot_be_archived_is_named_and_the_others_go(
    storage: Command, lake: MessagesLake
) -> None:
    lake.append(days_ago(100), days_ago(101))
    lake.files()[0].write_bytes(b"")
    done = storage("archive", "--json")
    found = result(done)
    assert (found["archived_partitions"], len(found["failed"])) == (1, 1)
    day = datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=101)
    assert found["failed"][0]["partition_key"] == day.isoformat()
    assert done.exit_code == found["failed"][0]["exit_code"] != 0
    done = storage("archive")
    assert f"messages {day} stays" in done.stderr
    assert done.exit_code != 0


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("archive",), 66, "parquet"),
        (("archive", "--compression-level", "23"), 2, "compression_level"),
        (("archive", "--older-than-days", "-1"), 2, "older_than_days"),
        (("archive", "--older-than-days", "many"), 2, "--older-than-days"),
        (("cleanup",), 66, "raw"),
        (("cleanup", "--retention-days", "-1"), 2, "retention_days"),
        (("stats", "--capacity-gb", "-1"), 2, "--capacity-gb"),
        (("job", "yearly"), 2, "yearly"),
    ],
)
def test_what_is_wrong_is_named_on_stderr_with_its_code(
    storage: Command, arguments: tuple[str, ...], code: int, named: str
) -> None:
    done = storage(*arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    assert named in done.stderr


def test_a_wrong_log_level_is_a_wrong_setting(storage: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_LOG_LEVEL", "LOUD")
    done = storage("stats")
    assert done.exit_code == 78
    assert "MILLRACE_LOG_LEVEL" in done.stderr


def test_cleanup_says_what_it_did_and_what_stays(storage: Command, data: Path) -> None:
    """LAKE-111; what may go is told in ingest-service's tests."""
    raw = data / "messages" / "raw"
    raw.mkdir(parents=True)
    (raw / "2026-01-01.jsonl").write_bytes(b"{}\n")
    (raw / "notes.txt").write_bytes(b"x")
    done = storage("cleanup", "--dry-run", "--json")
    assert done.exit_code == 0, done.stderr
    found = result(done)
    assert found == {
        "total_scanned": 2,
        "deleted": 0,
        "skipped_no_parquet": 1,
        "skipped_in_use": 0,
        "deleted_files": [],
        "kept": {"2026-01-01.jsonl": "there is no lake"},
        "failed": {},
    }
    printed = storage("cleanup", "--raw-dir", raw).stdout
    assert "total_scanned       2" in printed
    assert "2026-01-01.jsonl stays: there is no lake" in printed


def test_the_roots_may_come_from_the_environment(
    storage: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LAKE-2."""
    raw = tmp_path / "door"
    raw.mkdir()
    (raw / "2026-01-01.jsonl").write_bytes(b"{}\n")
    monkeypatch.setenv("MILLRACE_RAW_DIR", str(raw))
    assert result(storage("cleanup", "--json"))["total_scanned"] == 1


def test_stats_of_an_absent_and_of_a_small_installation(
    storage: Command, lake: MessagesLake, data: Path
) -> None:
    """LAKE-121 to LAKE-124."""
    nothing = result(storage("stats", "--json"))["storage"]
    assert nothing == {"parquet": None, "archive": None, "raw": None, "total_size_mb": 0.0}
    lake.append(days_ago(1), days_ago(100))
    storage("archive", "--compression-level", 1)
    found = result(storage("stats", "--json", "--capacity-gb", 1))
    assert found["storage"]["parquet"]["total_rows"] == found["storage"]["archive"]["total_rows"] == 1
    assert found["age_distribution"]["0-7_days"] == found["age_distribution"]["91-180_days"] == 1
    assert found["growth"]["last_7_days"]["rows_per_day"] == round(1 / 7, 2)
    assert found["growth"]["capacity_bytes"] == 1_000_000_000
    printed = storage("stats")
    assert printed.exit_code == 0
    for word in ("parquet", "archive", "91-180_days", "compression", "last 30 days"):
        assert word in printed.stdout
