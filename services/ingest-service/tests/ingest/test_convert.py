"""Whole journals into Parquet, and every journal of a directory."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest_service.errors import BadArgumentError, NotFoundError
from ingest_service.ingest import convert_all, convert_journal
from millrace_schemas import datasets
from millrace_testkit.builders import FIRST_SECOND, contact, message

from .conftest import Installation, messages


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip"])
def test_a_journal_is_converted_and_measured(installation: Installation, compression: str) -> None:
    """LAKE section 6, convert one journal: its result keys and what they say."""
    journal = installation.journal(*messages(range(2500)), contact("wxid_a", "A"))
    result = convert_journal(
        journal, installation.parquet, compression=compression, batch_size=1000, timing=installation.timing
    )
    files = [Path(file) for file in result.target_files]
    assert result.target_file == result.target_files[0]
    assert sum(pq.read_metadata(file).num_rows for file in files) == result.total_records == 2501
    assert {pq.read_metadata(file).row_group(0).column(0).compression for file in files} == {
        compression.upper()
    }
    assert "messages" in result.target_file
    assert "contacts" in result.target_files[-1]
    assert result.total_batches == 3
    size = sum(file.stat().st_size for file in files)
    assert result.source_size_mb == round(journal.stat().st_size / 1e6, 2) > 0
    assert result.target_size_mb == round(size / 1e6, 2)
    assert result.compression_ratio == round(journal.stat().st_size / size, 2) > 1
    assert set(dataclasses.asdict(result)) == {
        "source_file", "target_file", "target_files", "total_records", "total_batches",
        "source_size_mb", "target_size_mb", "compression_ratio",
    }  # fmt: skip


def test_a_journal_without_rows_gives_zeros(installation: Installation) -> None:
    journal = installation.journal(b"{", b"", b"[1]")
    result = convert_journal(journal, installation.parquet, timing=installation.timing)
    assert (result.target_file, result.target_files, result.total_records) == ("", [], 0)
    assert (result.total_batches, result.source_size_mb, result.target_size_mb) == (0, 0.0, 0.0)
    assert result.compression_ratio == 0.0


def test_what_makes_no_sense_is_refused_before_anything_is_written(installation: Installation) -> None:
    journal = installation.journal(*messages([1]))
    for options, named in (
        ({"compression": "lz4"}, "compression.*lz4"),
        ({"batch_size": 0}, "batch_size"),
        ({"schema": pa.schema([("msg_id", pa.int64())])}, "msg_id.*int64"),
        ({"schema": pa.schema([("colour", pa.string())])}, "colour"),
    ):
        with pytest.raises(BadArgumentError, match=named):
            convert_journal(journal, installation.parquet, **options)  # type: ignore[arg-type]
    with pytest.raises(NotFoundError):
        convert_journal(installation.raw / "2020-01-01.jsonl", installation.parquet)
    assert not installation.parquet.exists()
    schema = datasets.load("messages").arrow_schema()
    assert convert_journal(journal, installation.parquet, schema=schema).total_records == 1


def test_all_journals_are_converted_once(installation: Installation) -> None:
    """Convert all: converted, skipped, failed; the failed one holds up nobody."""
    installation.journal(*messages(range(5)), day="2026-03-14")
    installation.journal(*messages(range(3, 8)), day="2026-03-15")
    (installation.raw / "2026-03-16.jsonl").mkdir()
    first = convert_all(installation.raw, installation.parquet, timing=installation.timing)
    assert dataclasses.asdict(first) == {"converted": 2, "skipped": 0, "failed": 1}
    installation.journal(*messages([9]), day="2026-03-15")
    second = convert_all(installation.raw, installation.parquet, timing=installation.timing)
    assert (second.converted, second.skipped) == (1, 1)
    third = convert_all(
        installation.raw, installation.parquet, skip_existing=False, timing=installation.timing
    )
    assert (third.converted, third.skipped) == (2, 0)
    assert sorted(installation.ids(), key=int) == [*map(str, range(8)), "9"]
    with pytest.raises(NotFoundError, match="nowhere"):
        convert_all(installation.root / "nowhere", installation.parquet)


def test_23210_messages_give_23210_rows(installation: Installation) -> None:
    """LAKE-S1, by default batches, in two journals and with late messages of ten days."""
    everything = [message(str(n), FIRST_SECOND + 40 * n) for n in range(23_210)]
    installation.journal(*everything[:12_000], day="2026-03-14")
    installation.journal(*everything[12_000:], day="2026-03-15")
    results = installation.ingest()
    assert [one.deduplicated for one in results] == [12_000, 11_210]
    rows = installation.rows()
    assert {int(row["msg_id"]) for row in rows} == set(range(23_210))
    assert len(rows) == 23_210
    assert len({row["day"] for row in rows}) == 11
