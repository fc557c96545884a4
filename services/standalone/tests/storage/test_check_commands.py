"""`millrace storage validate`, `detect-duplicates` and `schema` (LAKE section 12)."""

import csv
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, Field, write_deltalake
from deltalake.schema import PrimitiveType
from typer.testing import Result

from ingest_service.registry.registry import SchemaRegistry, built_in
from millrace_testkit.messages_lake import DAY, STORED, MessagesLake, message

Command = Callable[..., Result]


def test_validate_one_partition(lake: MessagesLake, storage: Command) -> None:
    """LAKE-S11: an intact and a 0-byte file: not valid, exit 3, the file named."""
    lake.append(message(1), message(2))
    (file,) = lake.files()
    valid = storage("validate", file.parent)
    assert valid.exit_code == 0
    assert "valid; files 1, records 2, bytes " in valid.stdout
    (file.parent / "zero.parquet").write_bytes(b"")
    result = storage("validate", file.parent)
    assert result.exit_code == 3
    assert "NOT VALID; files 2, records 2" in result.stdout
    assert "zero.parquet: is empty" in result.stdout
    report = json.loads(storage("validate", file.parent, "--json").stdout)
    assert not report["is_valid"]
    assert report["partitions"][0]["errors"] == ["zero.parquet: is empty"]
    assert (file.parent / "zero.parquet").exists()


def test_validate_all(lake: MessagesLake, storage: Command) -> None:
    lake.append(*(message(n, DAY + timedelta(days=n)) for n in range(3)))
    result = storage("validate", "--all")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "3 partitions, 0 not valid"
    lake.files()[1].write_bytes(b"junk")
    result = storage("validate", "--all", "--parquet-root", lake.root)
    assert result.exit_code == 3
    assert lake.files()[1].name in result.stdout
    assert result.stdout.splitlines()[-1] == "3 partitions, 1 not valid"


def test_validate_refuses_what_makes_no_sense(lake: MessagesLake, storage: Command, tmp_path: Path) -> None:
    assert storage("validate").exit_code == 2
    assert storage("validate", tmp_path, "--all").exit_code == 2
    missing = storage("validate", tmp_path / "nowhere")
    assert (missing.exit_code, missing.stdout) == (66, "")
    assert "nowhere" in missing.stderr
    assert storage("validate", "--all", "--parquet-root", tmp_path / "no").exit_code == 66


def test_detect_duplicates(lake: MessagesLake, storage: Command, tmp_path: Path) -> None:
    lake.append(*(message(n) for n in range(5)))
    none = storage("detect-duplicates")
    assert none.exit_code == 0
    assert none.stdout.startswith("0 msg_ids stand more than once, 0 surplus rows of 5")
    lake.append(message(1), message(2))
    lake.append(message(2))
    target = tmp_path / "twice.csv"
    found = storage("detect-duplicates", "--show-details", "-o", target)
    assert found.exit_code == 3
    lines = found.stdout.splitlines()
    assert lines[0] == "2 msg_ids stand more than once, 3 surplus rows of 8 in 3 files"
    assert lines[1:3] == [f"3\t{message(2)['msg_id']}", f"2\t{message(1)['msg_id']}"]
    with target.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["msg_id", "count"],
            [message(2)["msg_id"], "3"],
            [message(1)["msg_id"], "2"],
        ]
    as_json = storage("detect-duplicates", "--json")
    assert as_json.exit_code == 3
    assert json.loads(as_json.stdout)["surplus_rows"] == 3


def test_detect_duplicates_without_a_lake_and_with_a_broken_file(
    lake: MessagesLake, storage: Command, tmp_path: Path
) -> None:
    assert storage("detect-duplicates", "--parquet-root", tmp_path / "nowhere").exit_code == 0
    lake.append(message(1))
    lake.files()[0].write_bytes(b"")
    result = storage("detect-duplicates")
    assert result.exit_code == 0
    assert lake.files()[0].name in result.stderr


def test_schema_list_and_show(storage: Command, tmp_path: Path) -> None:
    """LAKE-80."""
    before = storage("schema", "list")
    assert before.exit_code == 0
    assert "message_content  -  20 fields" in before.stdout
    assert not (tmp_path / "metadata").exists()  # listing writes nothing
    registry = SchemaRegistry(tmp_path / "metadata")
    registry.register_built_in()
    wider = built_in("message_content").append(pa.field("reaction", pa.string()))
    registry.register("message_content", wider, "with reactions")
    listed = json.loads(storage("schema", "list", "--json").stdout)
    assert [(each["schema_name"], each["version"]) for each in listed] == [
        ("contact_sync", 1),
        ("message_content", 1),
        ("message_content", 2),
    ]
    shown = storage("schema", "show", "message_content")
    assert shown.stdout.splitlines()[0] == "message_content 2: with reactions"
    assert "  is_chatroom_msg  int8  not null" in shown.stdout
    assert "  reaction  string\n" in shown.stdout
    assert "reaction" not in storage("schema", "show", "message_content", "--version", 1).stdout
    assert storage("schema", "show", "message_content", "--version", 3).exit_code == 66
    assert storage("schema", "show", "nothing").exit_code == 66
    (tmp_path / "metadata" / "schema_registry.json").write_text("{ torn")
    broken = storage("schema", "list")
    assert broken.exit_code == 65
    assert "schema_registry.json" in broken.stderr
    assert broken.stdout == ""
    # LAKE-92: operation, source file, error text and type.
    logged = json.loads(broken.stderr.splitlines()[0])
    assert (logged["operation"], logged["error_type"]) == ("read_schema_registry", "bad_json")
    assert logged["source_file"] == str(tmp_path / "metadata" / "schema_registry.json")
    assert "JSON is malformed" in logged["error"]


def test_schema_check(lake: MessagesLake, storage: Command, tmp_path: Path) -> None:
    """LAKE-85."""
    lake.append(message(1))
    one = storage("schema", "check")
    assert one.exit_code == 0
    assert one.stdout.splitlines()[0] == "1 schema version in the files"
    plain = tmp_path / "plain"
    directory = plain / "messages" / "year=2026" / "month=03" / "day=14"
    directory.mkdir(parents=True)
    changed = built_in("message_content").set(5, pa.field("msg_type", pa.string()))
    pq.write_table(built_in("message_content").empty_table(), directory / "1.parquet")
    pq.write_table(changed.empty_table(), directory / "2.parquet")
    (directory / "zero.parquet").write_bytes(b"")
    result = storage("schema", "check", "--parquet-root", plain)
    assert result.exit_code == 3
    assert "2.parquet: field msg_type changed from string to int32" in result.stdout
    assert "zero.parquet" in result.stderr
    found = json.loads(storage("schema", "check", "--parquet-root", plain, "--json").stdout)
    assert found["has_evolution"]
    assert [each["file_count"] for each in found["schema_versions"]] == [1, 1]
    assert storage("schema", "check", "--dataset", "nope").exit_code == 2
    assert storage("schema", "check", "--parquet-root", tmp_path / "no").exit_code == 66


def test_errors_are_counted_by_type(land: Callable[..., None], lake: MessagesLake, storage: Command) -> None:
    """LAKE-91: they never stop a run, and can be asked for."""
    message_of = {"from_username": "a", "to_username": "b", "is_chatroom_msg": 0, "create_time": 1773450729}
    lines = [
        {"guid": "g", "notify_type": 1010, "data": {**message_of, "msg_id": "1"}},
        {"guid": "g", "notify_type": 1010, "data": {**message_of, "msg_id": "2", "from_username": ""}},
        {"guid": "", "notify_type": 1010, "data": {**message_of, "msg_id": "3"}},
        {
            "guid": "g",
            "notify_type": 1010,
            "data": {**message_of, "msg_id": "4", "create_time": 1773450729000},
        },
        {"guid": "g", "notify_type": 1010, "data": {**message_of, "msg_id": "5", "msg_type": "x"}},
    ]
    land(*lines)
    assert storage("query", "-s", "2026-03-14", "-e", "2026-03-14").stdout.splitlines()[0] == "1 row"
    found = json.loads(storage("errors", "--json").stdout)
    assert sum(found["by_type"].values()) == 4
    assert {"error_type": "schema_error", "reason": "missing_required_field", "count": 2} in found["counts"]
    assert {"error_type": "validation_error", "reason": "out_of_range", "count": 1} in found["counts"]
    assert storage("errors").stdout.splitlines()[0] == "4 dead letters"
    assert storage("errors", "--parquet-root", lake.root / "no").exit_code == 66


def test_errors_of_a_lake_without_any(lake: MessagesLake, storage: Command) -> None:
    lake.append(message(1))
    assert storage("errors").stdout == "0 dead letters\n"


def test_schema_check_rewrites_partitions_of_two_versions(lake: MessagesLake, storage: Command) -> None:
    """LAKE-84: every partition has a single schema, and queries answer as before."""
    lake.append(message(1, extra_fields='{"reaction":"old"}'))
    later = STORED.append(pa.field("reaction", pa.string()))
    DeltaTable(str(lake.table)).alter.add_columns([Field("reaction", PrimitiveType("string"))])
    rows = pa.Table.from_pylist([message(2, reaction="new")], schema=later)
    write_deltalake(str(lake.table), rows, mode="append")
    asked = ("query", "-s", "2026-03-14", "-e", "2026-03-14", "--columns", "msg_id,reaction", "--json")
    before = json.loads(storage(*asked).stdout)["items"]
    assert [row["reaction"] for row in before] == ["old", "new"]
    assert storage("validate", "--all").exit_code == 3

    result = storage("schema", "check", "--rewrite")

    assert "rewritten: 2026-03-14" in result.stdout
    assert "1 schema version in the files" in result.stdout
    assert storage("validate", "--all").exit_code == 0
    assert json.loads(storage(*asked).stdout)["items"] == before
    assert json.loads(storage("schema", "check", "--rewrite", "--json").stdout)["rewritten_partitions"] == []
