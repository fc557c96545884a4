"""`millrace storage query` and `query-by-id` (LAKE section 12)."""

import csv
import io
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from millrace_testkit.messages_lake import DAY, MessagesLake, message, ordered

TODAY = ("-s", "2026-03-14", "-e", "2026-03-14")
Command = Callable[..., Result]


def payload(msg_id: str, **data: Any) -> dict[str, Any]:
    return {
        "guid": "3f1c9a52-6d0e-4b7a-9c11-0a5be27d4410",
        "notify_type": 1010,
        "data": {
            "from_username": "47210093358@chatroom",
            "to_username": "wxid_k7hq2n0v5t",
            "chatroom_sender": "wxid_r4m8ywz6pd",
            "create_time": 1773450729,
            "desc": "",
            "msg_id": msg_id,
            "msg_type": 1,
            "is_chatroom_msg": 1,
            "chatroom": "47210093358@chatroom",
            "source": "",
            "content": "收到",
            **data,
        },
    }


def test_count_first_ten_rows_and_how_many_remain(lake: MessagesLake, storage: Command) -> None:
    lake.append(*(message(n, DAY + timedelta(seconds=n)) for n in range(25)))
    result = storage("query", *TODAY)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "25 rows"
    shown = [row["msg_id"] for row in lake.rows if row["msg_id"] in result.stdout]
    assert shown == [row["msg_id"] for row in lake.rows[:10]]
    assert lines[-1].startswith("15 more rows")
    assert storage("query", *TODAY, "--limit", 12).stdout.splitlines()[-1].startswith("2 more rows")
    last = storage("query", *TODAY, "--limit", 10, "--offset", 20)
    assert "more rows" not in last.stdout
    assert lake.rows[24]["msg_id"] in last.stdout


def test_filters(lake: MessagesLake, storage: Command) -> None:
    """LAKE-S5, LAKE-S6, and --sender."""
    lake.append(*(message(n, chatroom=f"{n % 3}@chatroom") for n in range(120)))
    lake.append(
        *(message(200 + n, msg_type=(1, 3, 49)[(n >= 50) + (n >= 60)], chatroom="t") for n in range(65))
    )
    lake.append(
        message(300, chatroom_sender="", from_username="wxid_x"), message(301, chatroom_sender="wxid_x")
    )
    for options, count in (
        (("--chatroom", "1@chatroom"), 40),
        (("--msg-type", "3,49"), 15),
        (("--msg-type", 3, "--msg-type", "49", "--chatroom", "t"), 15),
        (("--sender", "wxid_x"), 2),
        (("--from-user", "wxid_x"), 1),
        (("--chatroom", "none"), 0),
    ):
        assert storage("query", *TODAY, *options).stdout.splitlines()[0] == f"{count} rows".replace(
            "1 rows", "1 row"
        )


def test_csv(lake: MessagesLake, storage: Command, tmp_path: Path) -> None:
    lake.append(*(message(n, content=f'"{n}", 你好\n') for n in range(30)))
    target = tmp_path / "out.csv"
    result = storage("query", *TODAY, "--columns", "content,msg_id", "-o", target)
    assert (result.exit_code, result.stdout) == (0, f"30 rows written to {target}\n")
    rows = list(csv.DictReader(io.StringIO(target.read_bytes().decode(), newline="")))
    assert list(rows[0]) == ["content", "msg_id"]
    assert [row["content"] for row in rows] == [row["content"] for row in ordered(lake.rows)]
    assert sorted(path.name for path in tmp_path.glob("*out.csv*")) == ["out.csv"]
    assert storage("query", *TODAY, "-o", tmp_path / "no" / "dir.csv").exit_code == 66


def test_a_csv_goes_where_it_is_asked_to(lake: MessagesLake, storage: Command, tmp_path: Path) -> None:
    lake.append(message(1))
    target, link = tmp_path / "kept.csv", tmp_path / "link.csv"
    target.write_text("before")
    link.symlink_to(target)
    # What goes wrong leaves what was there.
    assert storage("query", *TODAY, "--columns", "nope", "-o", link).exit_code == 2
    assert target.read_text() == "before"
    assert storage("query", *TODAY, "--columns", "msg_id", "-o", link).exit_code == 0
    assert link.is_symlink()
    assert target.read_text() == f'"msg_id"\n"{lake.rows[0]["msg_id"]}"\n'
    assert storage("query", *TODAY, "-o", "/dev/null").exit_code == 0
    assert Path("/dev/null").is_char_device()
    assert storage("query", *TODAY, "-o", tmp_path).exit_code == 74


def test_json_has_every_row_and_column(lake: MessagesLake, storage: Command) -> None:
    lake.append(*(message(n) for n in range(12)))
    found = json.loads(storage("query", *TODAY, "--json").stdout)
    assert (found["total"], len(found["items"]), found["warnings"]) == (12, 12, [])
    assert found["files_opened"] == 1
    assert len(found["items"][0]) == 23


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        (("-s", "2026-03-15", "-e", "2026-03-14"), 2, "start_date"),
        (("-s", "14.3.2026", "-e", "2026-03-14"), 2, "start_date"),
        (("-s", "2026-03-14"), 2, "end"),
        ((*TODAY, "--columns", "nope"), 2, "nope"),
        ((*TODAY, "--limit", "0"), 2, "limit"),
        ((*TODAY, "--offset", "-1"), 2, "offset"),
        ((*TODAY, "--msg-type", "x"), 2, "msg_type"),
        ((*TODAY, "--parquet-root", "/nowhere/at/all"), 66, "/nowhere/at/all"),
    ],
)
def test_errors_go_to_stderr_with_their_exit_code(
    lake: MessagesLake, storage: Command, options: tuple[str, ...], code: int, named: str
) -> None:
    lake.root.mkdir()
    result = storage("query", *options)
    assert result.exit_code == code
    assert named in result.stderr
    assert result.stdout == ""


def test_a_broken_file_is_a_warning_and_the_rest_is_answered(lake: MessagesLake, storage: Command) -> None:
    """LAKE-90."""
    lake.append(message(1))
    (broken,) = lake.files()
    lake.append(message(2))
    broken.write_bytes(b"")
    result = storage("query", *TODAY)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "1 row"
    assert broken.name in result.stderr


def test_a_new_key_is_in_extra_fields_and_is_masked(land: Callable[..., None], storage: Command) -> None:
    """LAKE-S9, LAKE-56: landed by the lake writer's code, asked by the command."""
    land(payload("1", reaction={"n": 2}), payload("2", mobile="13905718264"), payload("3"))
    found = json.loads(storage("query", *TODAY, "--json").stdout)["items"]
    assert [row["extra_fields"] for row in found] == [
        '{"reaction":{"n":2}}',
        '{"mobile":"139****8264"}',
        None,
    ]
    same = [
        {k: v for k, v in row.items() if k not in ("msg_id", "extra_fields", "src_line")} for row in found
    ]
    assert same[0] == same[1] == same[2]
    clear = storage("query", *TODAY, "--json", "--unmask", "--columns", "extra_fields")
    assert json.loads(clear.stdout)["items"][1] == {"extra_fields": '{"mobile":"13905718264"}'}


def test_query_by_id(lake: MessagesLake, storage: Command, tmp_path: Path) -> None:
    """LAKE-102."""
    archive = MessagesLake(tmp_path / "archive")
    archive.append(message(1, DAY - timedelta(days=200)))
    lake.append(*(message(n, DAY + timedelta(days=n)) for n in range(2, 20)))
    wanted = [row["msg_id"] for row in (*archive.rows, *lake.rows)][:13]
    result = storage("query-by-id", *wanted, "unknown")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "13 rows"
    assert all(each in result.stdout for each in wanted)
    found = json.loads(storage("query-by-id", wanted[0], "--json", "--columns", "msg_id,year").stdout)
    assert found["items"] == [{"msg_id": wanted[0], "year": 2025}]
    target = tmp_path / "ids.csv"
    assert storage("query-by-id", *wanted, "-o", target).stdout == f"13 rows written to {target}\n"
    assert storage("query-by-id").exit_code == 2
    assert storage("query-by-id", "1", "--columns", "nope").exit_code == 2
    assert storage("query-by-id", "1", "--parquet-root", tmp_path / "no").exit_code == 66


def test_text_that_would_steer_a_terminal_is_shown_as_text(lake: MessagesLake, storage: Command) -> None:
    lake.append(message(1, content="\x1b[2Jgone\r\nnext"))
    out = storage("query", *TODAY).stdout
    assert "\x1b" not in out
    assert "\\x1b[2Jgone\\r\\nnext" in out
