"""One payload by hand: journal first, then the lake."""

from __future__ import annotations

import json

import pytest

from ingest_service.errors import BadArgumentError, BadDataError, StorageIoError
from ingest_service.ingest import ingest_message
from ingest_service.ingest.results import MessageResult
from millrace_testkit.builders import batch, contact, data_of, encoded, message

from .conftest import Installation

TODAY = "2026-03-18"


def take(installation: Installation, body: bytes, raw: str = "") -> MessageResult:
    return ingest_message(body, installation.raw / raw, installation.parquet, timing=installation.timing)


def test_a_message_is_in_the_journal_and_in_its_day(installation: Installation) -> None:
    """Section 12, ingest-message; LAKE-62."""
    body = message("1", 1_772_668_800)
    result = take(installation, body.replace(b",", b",\n", 1), f"{TODAY}.jsonl")
    journal = installation.raw / f"{TODAY}.jsonl"
    assert json.loads(journal.read_bytes()) == json.loads(body)
    assert result == MessageResult(str(journal), 1, "messages", "2026-03-05", 1, 1)
    again = take(installation, body)
    assert (again.line, again.rows_written, again.checkpoint_offset) == (2, 0, 2)
    assert installation.ids() == ["1"]


def test_other_kinds_say_where_they_went(installation: Installation) -> None:
    assert take(installation, contact("wxid_a", "A")).dataset == "contacts"
    other = take(installation, encoded({"guid": "g", "notify_type": 1006, "data": {}}))
    assert (other.dataset, other.partition, other.rows_written) == ("other", TODAY, 1)
    many = take(installation, batch(data_of("1", 1_772_668_800), data_of("2", 1_772_755_200)))
    assert (many.partition, many.rows_written) == ("2026-03-05, 2026-03-06", 2)


def test_what_is_no_object_is_stored_nowhere(installation: Installation) -> None:
    for body in (b"{", b"[]", b"", b"\xff", b"NaN"):
        with pytest.raises(BadDataError):
            take(installation, body)
    assert not installation.raw.exists()


def test_what_becomes_no_row_is_kept_and_said(installation: Installation) -> None:
    with pytest.raises(BadDataError, match="create_time") as refused:
        take(installation, message("1", 1_772_668_800_000))
    assert refused.value.exit_code == 65
    assert len((installation.raw / f"{TODAY}.jsonl").read_bytes().splitlines()) == 1
    assert len(installation.rows("dead_letters")) == 1
    # A refused line before does not make the next one a refused one.
    assert take(installation, message("2")).rows_written == 1


def test_another_day_s_journal_takes_nothing_more(installation: Installation) -> None:
    """LAKE-30: a line is of the day of its append."""
    with pytest.raises(BadArgumentError, match=r"2026-03-18\.jsonl, not 2026-03-17"):
        take(installation, message("1"), "2026-03-17.jsonl")
    assert not installation.raw.exists()


def test_it_is_in_the_journal_when_the_lake_cannot_be_written(installation: Installation) -> None:
    installation.root.joinpath("parquet").write_text("a file where the lake should be")
    with pytest.raises(StorageIoError):
        take(installation, message("1"))
    assert (installation.raw / f"{TODAY}.jsonl").read_bytes().count(b"\n") == 1
    installation.root.joinpath("parquet").unlink()
    [result] = installation.ingest()
    assert result.deduplicated == 1
