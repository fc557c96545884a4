"""The model on messages: rows written out by hand from the sheet's examples (LAKE section 16)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

GROUP_TEXT = r"""{"guid":"b8e4d7c0-21f9-4e36-8a5d-77c2f0316e9b","notify_type":1010,"data":{"from_username":"51822764019@chatroom","to_username":"wxid_d0f3c9a8le","chatroom_sender":"wxid_u2b6gk1sxo","create_time":1773503998,"desc":"陈立在群聊中@了你","msg_id":"7304418825596020418","msg_type":1,"is_chatroom_msg":1,"chatroom":"51822764019@chatroom","source":"<msgsource><atuserlist>wxid_d0f3c9a8le</atuserlist><membercount>12</membercount></msgsource>","content":"@陈立 下周二的评审改到 10:30\n地点不变 👨‍👩‍👧"}}"""  # noqa: E501
INTEGER_SOURCE = r"""{"guid":"b8e4d7c0-21f9-4e36-8a5d-77c2f0316e9b","notify_type":1010,"data":{"from_username":"gh_6a0d4e91c7b2","to_username":"wxid_d0f3c9a8le","chatroom_sender":"","create_time":1773532800,"desc":"","msg_id":"7304418825596044815","msg_type":10000,"is_chatroom_msg":0,"chatroom":"","source":17,"content":"你已添加了供应商小助手，现在可以开始聊天了。"}}"""  # noqa: E501


def message(**changes: Any) -> dict[str, Any]:
    """A small valid 1010 payload; `changes` go into data, None removes a key."""
    data = {
        "msg_id": "7",
        "from_username": "a",
        "to_username": "b",
        "create_time": 1773450729,
        "is_chatroom_msg": 0,
    }
    data |= changes
    return {"guid": "g", "notify_type": 1010, "data": {k: v for k, v in data.items() if v is not ...}}


def test_group_text(told: Any) -> None:
    expected = told(GROUP_TEXT)
    assert dict(expected.messages) == {
        "7304418825596020418": [
            {
                "msg_id": "7304418825596020418",
                "from_username": "51822764019@chatroom",
                "to_username": "wxid_d0f3c9a8le",
                "chatroom": "51822764019@chatroom",
                "chatroom_sender": "wxid_u2b6gk1sxo",
                "msg_type": 1,
                "create_time": datetime(2026, 3, 14, 15, 59, 58, tzinfo=UTC),
                "is_chatroom_msg": 1,
                "content": "@陈立 下周二的评审改到 10:30\n地点不变 👨‍👩‍👧",
                "desc": "陈立在群聊中@了你",
                "source": "<msgsource><atuserlist>wxid_d0f3c9a8le</atuserlist><membercount>12</membercount></msgsource>",  # noqa: E501
                "guid": "b8e4d7c0-21f9-4e36-8a5d-77c2f0316e9b",
                "notify_type": 1010,
                "extra_fields": None,
                "schema_version": 1,
                "src_door": "door-a",
                "src_file": "2026-03-14.jsonl",
                "src_line": 1,
                "src_element": 0,
                "year": "2026",
                "month": "03",
                "day": "14",
            }
        ]
    }


def test_integer_source_and_the_first_second_of_a_day(told: Any) -> None:
    (row,) = told(INTEGER_SOURCE).messages["7304418825596044815"]
    assert row["source"] == "17"
    assert row["create_time"] == datetime(2026, 3, 15, tzinfo=UTC)
    assert (row["year"], row["month"], row["day"]) == ("2026", "03", "15")


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (0, "0"),
        (None, ""),
        (..., ""),
        ("<x/>", "<x/>"),
        ({"b": 1, "a": [2]}, '{"b":1,"a":[2]}'),
        (True, "true"),
        (2**70, str(2**70)),
    ],
)
def test_source(told: Any, value: object, stored: str) -> None:
    (row,) = told(message(source=value)).messages["7"]
    assert row["source"] == stored


@pytest.mark.parametrize(
    ("key", "value", "stored"),
    [
        ("msg_type", None, 0),
        ("msg_type", ..., 0),
        ("msg_type", "49", 49),
        ("msg_type", 49.0, 49),
        ("create_time", "1773450729", datetime(2026, 3, 14, 1, 12, 9, tzinfo=UTC)),
        ("content", None, ""),
        ("content", 7, "7"),
        ("content", 1.5, "1.5"),
        ("content", {"a": "名"}, '{"a":"名"}'),
        ("content", "  untrimmed ", "  untrimmed "),
    ],
)
def test_values_are_normalised(told: Any, key: str, value: object, stored: object) -> None:
    (row,) = told(message(**{key: value})).messages["7"]
    assert row[key] == stored


def test_an_integer_msg_id_is_the_same_key_as_its_text(told: Any) -> None:
    expected = told(message(msg_id=18446744073709551615), message(msg_id="18446744073709551615"))
    assert [row["src_line"] for row in expected.messages["18446744073709551615"]] == [1, 2]


def test_unknown_keys_keep_order_value_and_type(told: Any) -> None:
    payload = message(reaction={"n": 2}, big=18446744073709551616, guid="inner")
    payload["trace"] = None
    (row,) = told(payload).messages["7"]
    assert (
        row["extra_fields"] == '{"reaction":{"n":2},"big":18446744073709551616,"guid":"inner","trace":null}'
    )


def test_a_lone_surrogate_becomes_the_replacement_character(told: Any) -> None:
    text = r'{"guid":"g","notify_type":1010,"data":{"msg_id":"7","from_username":"a","to_username":"b",'
    text += r'"create_time":1,"is_chatroom_msg":0,"content":"x\ud83dy","\udc00":"\ud83d\ude00"}}'
    (row,) = told(text).messages["7"]
    assert row["content"] == "x\ufffdy"
    assert row["extra_fields"] == '{"\ufffd":"😀"}'


def test_a_flat_message_takes_its_envelope_from_the_top_level(told: Any) -> None:
    flat = {**message()["data"], "guid": "g", "notify_type": 1010, "colour": "red"}
    (row,) = told(flat).messages["7"]
    assert (row["guid"], row["notify_type"], row["extra_fields"]) == ("g", 1010, '{"colour":"red"}')


def test_a_batch_gives_a_row_an_element(told: Any) -> None:
    elements = [
        message(msg_id="1")["data"],
        {"text": "no id"},
        message(msg_id="2", create_time=0)["data"],
        "x",
    ]
    expected = told({"guid": "g", "notify_type": 1011, "data": elements})
    assert [(row["src_line"], row["src_element"]) for row in expected.messages["1"]] == [(1, 0)]
    letters = {origin[3]: row for origin, row in expected.dead_letters.items()}
    assert {place: (row["error_type"], row["reason"], row["body"]) for place, row in letters.items()} == {
        1: ("schema_error", "missing_required_field", '{"text":"no id"}'),
        2: ("validation_error", "out_of_range", letters[2]["body"]),
        3: ("schema_error", "missing_required_field", '"x"'),
    }
    assert expected.lines == 4


def test_a_message_by_its_shape(told: Any) -> None:
    payload = message()
    payload["notify_type"] = 1999
    assert told(payload).messages["7"][0]["notify_type"] == 1999


@pytest.mark.parametrize(
    ("changes", "error_type", "reason", "fields"),
    [
        ({"from_username": "", "to_username": ..., "msg_type": "x"}, "schema_error", "missing_required_field",
         {"from_username", "to_username"}),
        ({"msg_id": ...}, "schema_error", "missing_required_field", {"msg_id"}),
        ({"msg_id": ""}, "schema_error", "missing_required_field", {"msg_id"}),
        ({"create_time": None}, "schema_error", "missing_required_field", {"create_time"}),
        ({"msg_type": "x", "create_time": 0}, "validation_error", "type_error", {"msg_type"}),
        ({"is_chatroom_msg": True}, "validation_error", "type_error", {"is_chatroom_msg"}),
        ({"create_time": 1.5}, "validation_error", "type_error", {"create_time"}),
        ({"create_time": 1773450729000}, "validation_error", "out_of_range", {"create_time"}),
        ({"create_time": 2147483647}, "validation_error", "out_of_range", {"create_time"}),
        ({"is_chatroom_msg": 2}, "validation_error", "out_of_range", {"is_chatroom_msg"}),
        ({"msg_type": -1}, "validation_error", "out_of_range", {"msg_type"}),
        ({"msg_type": 2**31}, "validation_error", "out_of_range", {"msg_type"}),
    ],
)  # fmt: skip
def test_what_cannot_become_a_message(
    told: Any, changes: dict[str, object], error_type: str, reason: str, fields: set[str]
) -> None:
    expected = told(message(**changes))
    assert not expected.messages
    ((where, row),) = expected.dead_letters.items()
    assert where == ("door-a", "2026-03-14.jsonl", 1, 0)
    assert (row["error_type"], row["reason"], expected.faulty_fields[where]) == (error_type, reason, fields)
