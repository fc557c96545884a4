"""The model on lines: blank, broken, torn, other; and the accounting of all of them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from millrace_testkit.model import read_journal

HEARTBEAT = '{"guid":"3f1c9a52-6d0e-4b7a-9c11-0a5be27d4410","notify_type":1006,"data":{}}'


def test_a_notification_is_kept_whole(told: Any) -> None:
    assert list(told(HEARTBEAT).other.values()) == [
        {
            "guid": "3f1c9a52-6d0e-4b7a-9c11-0a5be27d4410",
            "notify_type": 1006,
            "payload": HEARTBEAT,
            "received_day": "2026-03-14",
            "src_door": "door-a",
            "src_file": "2026-03-14.jsonl",
            "src_line": 1,
            "src_element": 0,
        }
    ]


@pytest.mark.parametrize(
    "line",
    [
        '{"guid":',
        "[1]",
        "7",
        '{"a":NaN}',
        '{"a":1e999}',
        '\ufeff{"a":1}',
        "[" * 100_000,
        '{"a":' + "9" * 5000 + "}",
    ],
    ids=["cut off", "array", "scalar", "NaN", "no number", "BOM", "deep", "long"],
)
def test_what_is_no_json_object_is_a_parse_error(told: Any, line: str) -> None:
    (row,) = told(line).dead_letters.values()
    assert (row["error_type"], row["body"], row["body_base64"]) == ("parse_error", line, None)


def test_bytes_that_are_not_utf8_are_kept(told: Any) -> None:
    (row,) = told(b'{"a":"\xff"}').dead_letters.values()
    assert (row["error_type"], row["body"]) == ("parse_error", "")
    assert base64.b64decode(row["body_base64"]) == b'{"a":"\xff"}'


@pytest.mark.parametrize("data", [[], "x", None, {"text": "t"}])
def test_a_1010_that_is_no_message_is_rejected(told: Any, data: object) -> None:
    (row,) = told({"guid": "g", "notify_type": 1010, "data": data}).dead_letters.values()
    assert (row["error_type"], row["reason"]) == ("schema_error", "missing_required_field")


@pytest.mark.parametrize("data", [[], {}, "x", {"msg_id": "1"}])
def test_a_1011_that_is_no_batch_goes_to_other(told: Any, data: object) -> None:
    assert len(told({"guid": "g", "notify_type": 1011, "data": data}).other) == 1


def test_an_object_without_an_envelope_is_rejected(told: Any) -> None:
    expected = told({"foo": 1})
    assert list(expected.faulty_fields.values()) == [{"guid", "notify_type"}]


def test_numbers_are_physical_lines(told: Any) -> None:
    expected = told("", HEARTBEAT, "  ", '{"guid":', HEARTBEAT)
    assert [origin[2] for origin in expected.other] == [2, 5]
    assert [origin[2] for origin in expected.dead_letters] == [4]
    assert (expected.lines, expected.blank) == (5, 2)


@pytest.mark.parametrize(("today", "lines"), [("2026-03-14", 1), ("2026-03-15", 2)])
def test_an_unterminated_line_counts_once_its_day_is_over(tmp_path: Path, today: str, lines: int) -> None:
    (tmp_path / "2026-03-14.jsonl").write_bytes(b"{}\n{}")
    assert len(read_journal(tmp_path, today=today).lines) == lines


def test_only_day_journals_are_read_in_their_order(tmp_path: Path) -> None:
    for name in (
        "2026-03-15.jsonl",
        "2026-03-14.jsonl",
        ".2026-03-13.jsonl",
        "2026-03-13.jsonl.tmp",
        "x.jsonl",
    ):
        (tmp_path / name).write_text("{}\n")
    assert [line.day for line in read_journal(tmp_path).lines] == ["2026-03-14", "2026-03-15"]
