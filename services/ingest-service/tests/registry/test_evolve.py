"""Bringing a table to a newer version of its schema (LAKE-82, LAKE-83, LAKE-84)."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from ingest_service.check.partitions import validate_dataset
from ingest_service.errors import BadArgumentError
from ingest_service.lake.tables import WRITER_PROPERTIES
from ingest_service.registry.evolve import mixed_partitions, unify, widen
from ingest_service.registry.scan import scan_evolution
from millrace_testkit.messages_lake import DAY, STORED, MessagesLake, message

LATER = STORED.append(pa.field("reaction", pa.string()))


@pytest.fixture
def lake(tmp_path: Path) -> MessagesLake:
    """Two days of the first version, two files on the first of them."""
    made = MessagesLake(tmp_path / "parquet")
    made.append(message(1, extra_fields='{"reaction":"x"}'), message(2, DAY + timedelta(days=1)))
    made.append(message(3))
    return made


def append_later(lake: MessagesLake, *rows: dict[str, Any]) -> None:
    write_deltalake(str(lake.table), pa.Table.from_pylist(list(rows), schema=LATER), mode="append")
    lake.rows.extend(rows)


def ids_and_reactions(lake: MessagesLake) -> list[tuple[str, str | None]]:
    table = DeltaTable(str(lake.table)).to_pyarrow_table(columns=["msg_id", "reaction"])
    return sorted((row["msg_id"], row["reaction"]) for row in table.to_pylist())


def test_columns_are_added_once_and_files_stay(lake: MessagesLake) -> None:
    before = lake.files()
    assert widen(DeltaTable(str(lake.table)), LATER) == ("reaction",)
    version = DeltaTable(str(lake.table)).version()
    assert widen(DeltaTable(str(lake.table)), LATER) == ()
    assert DeltaTable(str(lake.table)).version() == version
    assert lake.files() == before
    append_later(lake, message(4, reaction="new"))
    assert [reaction for _, reaction in ids_and_reactions(lake)] == [None, None, None, "new"]


def test_a_partition_of_two_versions_is_rewritten_to_the_newer_one(lake: MessagesLake) -> None:
    """LAKE-84: every partition has a single schema, and not a row is lost."""
    widen(DeltaTable(str(lake.table)), LATER)
    append_later(lake, message(4, reaction="new"))
    table = DeltaTable(str(lake.table))
    assert mixed_partitions(table, lake.table) == {("2026", "03", "14"): (2, 3)}
    assert not all(report.is_valid for _, report in validate_dataset(lake.table))
    before = ids_and_reactions(lake)
    extra = DeltaTable(str(lake.table)).to_pyarrow_table(columns=["msg_id", "extra_fields"]).sort_by("msg_id")

    assert unify(table, lake.table, WRITER_PROPERTIES["messages"]) == (("2026", "03", "14"),)

    assert mixed_partitions(DeltaTable(str(lake.table)), lake.table) == {}
    assert all(report.is_valid for _, report in validate_dataset(lake.table))
    assert ids_and_reactions(lake) == before
    after = DeltaTable(str(lake.table)).to_pyarrow_table(columns=["msg_id", "extra_fields"]).sort_by("msg_id")
    assert after.equals(extra)
    assert [each.field_count for each in scan_evolution(lake.root).schema_versions] == [21, 20]


def test_what_would_lose_values_is_refused(lake: MessagesLake) -> None:
    """LAKE-83."""
    version = DeltaTable(str(lake.table)).version()
    for schema, named in (
        (STORED.remove(0), "msg_id"),
        (STORED.set(5, pa.field("msg_type", pa.string())), "msg_type"),
        (STORED.append(pa.field("later", pa.int8(), nullable=False)), "later"),
    ):
        with pytest.raises(BadArgumentError, match=named):
            widen(DeltaTable(str(lake.table)), schema)
    assert DeltaTable(str(lake.table)).version() == version


def test_of_two_who_add_the_same_column_one_does(lake: MessagesLake) -> None:
    first, second = DeltaTable(str(lake.table)), DeltaTable(str(lake.table))
    assert widen(first, LATER) == ("reaction",)
    with pytest.raises((CommitFailedError, DeltaError)):
        widen(second, LATER)
    assert widen(DeltaTable(str(lake.table)), LATER) == ()
