"""What a lake writer does to schemas before it lands (LAKE-80, LAKE-82)."""

from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from ingest_service.lake.tables import Lake
from ingest_service.registry.prepare import prepare
from ingest_service.registry.registry import FILE, SchemaRegistry
from millrace_schemas import datasets
from millrace_testkit.messages_lake import STORED, MessagesLake, message


def test_schemas_are_registered_once(tmp_path: Path) -> None:
    for _ in range(2):
        prepare(Lake(tmp_path / "parquet"), tmp_path / "metadata")
    registry = SchemaRegistry(tmp_path / "metadata")
    assert [registry.latest_version(name) for name in registry.names()] == [1, 1]
    assert not (tmp_path / "parquet").exists()


def test_a_table_of_an_earlier_release_gets_the_columns_that_it_lacks(tmp_path: Path) -> None:
    without = STORED.remove(STORED.get_field_index("extra_fields"))
    row = {name: value for name, value in message(1).items() if name in without.names}
    table = tmp_path / "parquet" / "messages"
    keys = list(datasets.PARTITION_COLUMNS)
    write_deltalake(str(table), pa.Table.from_pylist([row], schema=without), partition_by=keys)

    prepare(Lake(tmp_path / "parquet"), tmp_path / "metadata")

    newer = message(2, extra_fields="{}")
    write_deltalake(str(table), pa.Table.from_pylist([newer], schema=STORED), mode="append")
    rows = DeltaTable(str(table)).to_pyarrow_table(columns=["msg_id", "extra_fields"]).to_pylist()
    assert sorted((each["msg_id"], each["extra_fields"]) for each in rows) == [
        (message(1)["msg_id"], None),
        (newer["msg_id"], "{}"),
    ]


def test_neither_a_broken_registry_nor_another_schema_keeps_messages_from_landing(tmp_path: Path) -> None:
    lake = MessagesLake(tmp_path / "parquet")
    lake.append(message(1))
    contacts = tmp_path / "parquet" / "contacts"
    write_deltalake(str(contacts), pa.table({"username": [1]}))
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / FILE).write_bytes(b"{ torn")
    prepare(Lake(tmp_path / "parquet"), tmp_path / "metadata")
    assert DeltaTable(str(contacts)).version() == 0
    assert (tmp_path / "metadata" / FILE).read_bytes() == b"{ torn"
