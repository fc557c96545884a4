"""The schema registry and how versions compare (LAKE-80, LAKE-81)."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_service.errors import BadArgumentError, BadDataError, StorageIoError
from ingest_service.registry.compare import ChangedField, compare, file_columns
from ingest_service.registry.registry import FILE, SchemaRegistry, built_in
from ingest_service.registry.types import read, written

NAME = "message_content"
ONE = pa.schema([pa.field("msg_id", pa.string(), nullable=False), pa.field("msg_type", pa.int8())])
TWO = ONE.append(pa.field("create_time", pa.timestamp("s", "UTC")))


@pytest.fixture
def registry(tmp_path: Path) -> SchemaRegistry:
    return SchemaRegistry(tmp_path, now=lambda: datetime(2026, 3, 14, 1, 2, 3, tzinfo=UTC))


def test_versions_count_up_and_the_same_fields_keep_theirs(registry: SchemaRegistry) -> None:
    assert registry.register(NAME, ONE, "first") == 1
    assert registry.register(NAME, ONE, "again") == 1
    assert registry.register(NAME, TWO) == 2
    assert registry.register(NAME, ONE) == 3  # not the latest's fields
    assert registry.register("contact_sync", ONE) == 1
    assert registry.latest_version(NAME) == 3
    assert [(each.version, each.description) for each in registry.list_versions(NAME)] == [
        (1, "first"),
        (2, ""),
        (3, ""),
    ]
    assert registry.names() == ("contact_sync", NAME)


def test_what_was_registered_reads_back(registry: SchemaRegistry, tmp_path: Path) -> None:
    registry.register(NAME, ONE)
    registry.register(NAME, TWO, "with a time")
    latest = SchemaRegistry(tmp_path).get(NAME)
    assert latest is not None
    assert (latest.schema_name, latest.version, latest.description) == (NAME, 2, "with a time")
    assert latest.schema == TWO
    assert latest.registered_at == datetime(2026, 3, 14, 1, 2, 3, tzinfo=UTC)
    first = registry.get(NAME, 1)
    assert first is not None
    assert first.schema == ONE


def test_what_is_not_there_is_none(registry: SchemaRegistry) -> None:
    assert registry.get(NAME) is None
    assert registry.latest_version(NAME) is None
    assert registry.list_versions(NAME) == []
    registry.register(NAME, ONE)
    assert registry.get(NAME, 2) is None
    assert registry.get("unknown") is None
    with pytest.raises(BadArgumentError, match="version"):
        registry.compare(NAME, ONE, version=7)


def test_the_file_says_it_plainly(registry: SchemaRegistry, tmp_path: Path) -> None:
    registry.register(NAME, TWO, "text")
    assert json.loads((tmp_path / FILE).read_text()) == {
        NAME: [
            {
                "schema_name": NAME,
                "version": 1,
                "schema": {
                    "fields": [
                        {"name": "msg_id", "type": "string", "nullable": False},
                        {"name": "msg_type", "type": "int8", "nullable": True},
                        {"name": "create_time", "type": "timestamp[s, tz=UTC]", "nullable": True},
                    ]
                },
                "description": "text",
                "registered_at": "2026-03-14T01:02:03Z",
            }
        ]
    }


_simple = st.sampled_from(
    [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint64(), pa.float16(), pa.float32()]
    + [pa.float64(), pa.bool_(), pa.string(), pa.large_string(), pa.binary(), pa.binary(16), pa.date32()]
    + [pa.date64(), pa.time32("s"), pa.time64("us"), pa.duration("ms"), pa.null(), pa.decimal128(38, -2)]
    + [pa.decimal256(50, 10), pa.string_view(), pa.month_day_nano_interval()]
    + [pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "+08:00")]
)
_types = st.recursive(
    _simple,
    lambda inner: st.one_of(
        inner.map(pa.list_),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda kinds: pa.struct([(f"f{n}", kind) for n, kind in enumerate(kinds)])
        ),
        inner.map(lambda kind: pa.map_(pa.string(), kind)),
    ),
    max_leaves=4,
) | st.just(pa.dictionary(pa.int8(), pa.string()))


@given(st.text(), _types, st.booleans())
def test_every_type_reads_back_exactly(name: str, kind: pa.DataType, nullable: bool) -> None:
    field = pa.field(name, kind, nullable or kind == pa.null())
    again = read(json.loads(json.dumps(written(field))))
    assert (again.name, again.type, again.nullable) == (field.name, field.type, field.nullable)


@pytest.mark.parametrize("name", ["", "Message", "../x", "a b", "x" * 65, "1a"])
def test_a_name_that_is_none_is_refused(registry: SchemaRegistry, name: str) -> None:
    with pytest.raises(BadArgumentError):
        registry.register(name, ONE)


def test_a_schema_without_fields_or_with_one_twice_is_refused(registry: SchemaRegistry) -> None:
    for schema in (pa.schema([]), pa.schema([("a", pa.int8()), ("a", pa.int8())])):
        with pytest.raises(BadArgumentError, match=NAME):
            registry.register(NAME, schema)


@pytest.mark.parametrize("content", [b"", b"{ torn", b"[]", b'{"message_content": 1}', b"\xff"])
def test_a_registry_that_cannot_be_read_is_kept_and_named(
    registry: SchemaRegistry, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / FILE).write_bytes(content)
    for use in (lambda: registry.get(NAME), lambda: registry.register(NAME, ONE)):
        with pytest.raises(BadDataError, match=FILE):
            use()
    assert (tmp_path / FILE).read_bytes() == content


def test_an_entry_that_cannot_be_read_is_named(registry: SchemaRegistry, tmp_path: Path) -> None:
    registry.register(NAME, ONE)
    text = (tmp_path / FILE).read_text().replace("int8", "int9")
    (tmp_path / FILE).write_text(text)
    with pytest.raises(BadDataError, match="int9"):
        registry.get(NAME)


def test_a_directory_that_takes_no_file_is_an_io_error(tmp_path: Path) -> None:
    (tmp_path / "metadata").write_text("a file")
    with pytest.raises((StorageIoError, FileNotFoundError)):
        SchemaRegistry(tmp_path / "metadata").register(NAME, ONE)


_REGISTERING = """
import sys, pathlib, pyarrow as pa
from ingest_service.registry.registry import SchemaRegistry
for n in range(5):
    schema = pa.schema([(f"f{sys.argv[2]}_{n}", pa.int8())])
    SchemaRegistry(pathlib.Path(sys.argv[1])).register("message_content", schema)
"""


def test_processes_register_one_after_the_other(tmp_path: Path) -> None:
    workers = [
        subprocess.Popen([sys.executable, "-c", _REGISTERING, tmp_path, str(number)]) for number in range(2)
    ]
    assert [worker.wait() for worker in workers] == [0, 0]
    versions = SchemaRegistry(tmp_path).list_versions(NAME)
    assert [each.version for each in versions] == list(range(1, 11))


def test_the_schemas_of_this_release_register_once(registry: SchemaRegistry) -> None:
    assert registry.register_built_in() == registry.register_built_in() == {NAME: 1, "contact_sync": 1}
    entry = registry.get(NAME)
    assert entry is not None
    assert entry.schema == built_in(NAME)
    assert entry.schema.field("create_time").type == pa.timestamp("us", "UTC")
    assert entry.schema.field("is_chatroom_msg").type == pa.int8()
    assert "year" not in entry.schema.names


def test_identical_fields_are_full_whatever_their_order() -> None:
    found = compare(TWO, pa.schema(list(reversed(TWO))))
    assert (found.is_compatible, found.compatibility_type) == (True, "full")
    assert (found.added_fields, found.warnings, found.errors) == ((), (), ())


def test_added_fields_are_backward_with_a_warning() -> None:
    found = compare(ONE, TWO.append(pa.field("a", pa.int8())))
    assert (found.is_compatible, found.compatibility_type) == (True, "backward")
    assert found.added_fields == ("a", "create_time")
    assert len(found.warnings) == 1
    assert found.errors == ()


def test_removed_and_changed_fields_are_breaking_with_errors() -> None:
    new = pa.schema([("z", pa.int8()), ("msg_type", pa.int32()), ("create_time", pa.timestamp("us", "UTC"))])
    found = compare(TWO, new)
    assert (found.is_compatible, found.compatibility_type) == (False, "breaking")
    assert (found.added_fields, found.removed_fields) == (("z",), ("msg_id",))
    assert found.changed_fields == (
        ChangedField("create_time", "timestamp[s, tz=UTC]", "timestamp[us, tz=UTC]"),
        ChangedField("msg_type", "int8", "int32"),
    )
    assert len(found.errors) == 3


def test_without_an_earlier_version_all_fields_are_added(registry: SchemaRegistry) -> None:
    found = registry.compare(NAME, TWO)
    assert found.is_compatible
    assert found.added_fields == ("create_time", "msg_id", "msg_type")
    registry.register(NAME, ONE)
    assert registry.compare(NAME, TWO).added_fields == ("create_time",)
    registry.register(NAME, TWO)
    assert registry.compare(NAME, TWO).compatibility_type == "full"
    assert registry.compare(NAME, ONE, version=1).compatibility_type == "full"


def test_how_a_writer_lays_a_column_out_is_none_of_its_schema() -> None:
    laid = pa.schema(
        [("a", pa.dictionary(pa.int8(), pa.large_string())), ("b", pa.string_view()), ("day", pa.string())]
    )
    assert file_columns(laid) == pa.schema([("a", pa.string()), ("b", pa.string())])
