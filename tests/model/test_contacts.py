"""The model on contacts: the latest by journal order, deletions, JSON columns (LAKE-41, 52, 65)."""

from __future__ import annotations

import json
from typing import Any

import pytest

CONTACT = {
    "guid": "b8e4d7c0-21f9-4e36-8a5d-77c2f0316e9b",
    "notify_type": 1200,
    "data": {
        "userName": {"string": "wxid_u2b6gk1sxo"},
        "nickName": {"string": "Omar 🚲"},
        "sex": 1,
        "remark": {},
        "contactType": 2,
        "bitMask2": "18446744073709551615",
        "deleteContactScene": 0,
        "snsUserInfo": {"snsFlag": 1, "snsBgobjectId": "14502117730865549312"},
        "country": "AE",
        "mobile": "",
        "flag": 3,
    },
}
DELETED = {
    "guid": "3f1c9a52-6d0e-4b7a-9c11-0a5be27d4410",
    "notify_type": 1201,
    "data": {"userName": {"string": "wxid_u2b6gk1sxo"}, "deleteContactScene": 2},
}
ROW = {
    "username": "wxid_u2b6gk1sxo",
    "alias": "",
    "encryptUserName": "",
    "contactType": 2,
    "deleteFlag": 0,
    "verifyFlag": 0,
    "sex": 1,
    "country": "AE",
    "province": "",
    "city": "",
    "mobile": "",
    "nickName": '{"string":"Omar 🚲"}',
    "remark": "{}",
    "snsUserInfo": '{"snsFlag":1,"snsBgobjectId":"14502117730865549312"}',
    "customInfo": "{}",
    "guid": "b8e4d7c0-21f9-4e36-8a5d-77c2f0316e9b",
    "notify_type": 1200,
    "extra_fields": '{"bitMask2":"18446744073709551615","deleteContactScene":0,"flag":3}',
    "schema_version": 1,
    "src_door": "door-a",
    "src_file": "2026-03-14.jsonl",
    "src_line": 1,
    "src_element": 0,
}


def changed(**data: Any) -> dict[str, Any]:
    """The contact's payload with other values in data."""
    return {**CONTACT, "data": {**CONTACT["data"], **data}}  # type: ignore[dict-item]


def test_a_contact(told: Any) -> None:
    assert told(CONTACT).contacts == {"wxid_u2b6gk1sxo": ROW}


def test_the_latest_replaces_the_whole_row(told: Any) -> None:
    expected = told(CONTACT, changed(nickName={"string": "B"}, country=None))
    row = expected.contacts["wxid_u2b6gk1sxo"]
    assert row == {**ROW, "nickName": '{"string":"B"}', "country": "", "src_line": 2}
    assert expected.contact_lines == 2


def test_a_deletion_keeps_the_other_columns(told: Any) -> None:
    (row,) = told(CONTACT, DELETED).contacts.values()
    extra = {"bitMask2": "18446744073709551615", "deleteContactScene": 2, "flag": 3}
    assert json.loads(row["extra_fields"]) == extra
    assert {**row, "extra_fields": None} == {**ROW, "deleteFlag": 1, "extra_fields": None}


def test_a_deletion_of_an_unknown_contact_is_a_row_of_defaults(told: Any) -> None:
    (row,) = told(DELETED).contacts.values()
    assert (row["deleteFlag"], row["notify_type"], row["nickName"]) == (1, 1201, "{}")
    assert row["extra_fields"] == '{"deleteContactScene":2}'


def test_a_later_change_brings_a_deleted_contact_back(told: Any) -> None:
    (row,) = told(DELETED, CONTACT).contacts.values()
    assert row == {**ROW, "src_line": 2}


@pytest.mark.parametrize(
    ("name", "username"),
    [
        ({"userName": {"string": "a"}, "username": "b"}, "a"),
        ({"userName": "a"}, "a"),
        ({"userName": {}, "username": "b"}, "b"),
        ({"username": "b", "tpUsername": "c"}, "b"),
        ({"tpUsername": "25984984@openim"}, "25984984@openim"),
    ],
)
def test_the_username_has_three_sources(told: Any, name: dict[str, Any], username: str) -> None:
    assert list(told({"guid": "g", "notify_type": 1202, "data": name}).contacts) == [username]


@pytest.mark.parametrize(
    ("value", "stored", "raw"),
    [
        ({"a": 1}, '{"a":1}', None),
        (None, "{}", None),
        ("", "{}", None),
        ('{"a": 1}', '{"a": 1}', None),
        ("Omar", '{"string":"Omar"}', None),
        ("[1]", '{"string":"[1]"}', None),
        ("{broken", "{}", "{broken"),
        ("[broken", "{}", "[broken"),
    ],
)
def test_json_columns(told: Any, value: object, stored: str, raw: str | None) -> None:
    (row,) = told(changed(nickName=value)).contacts.values()
    assert row["nickName"] == stored
    assert json.loads(row["extra_fields"]).get("nickName_raw") == raw


def test_nickname_stands_in_for_nick_name(told: Any) -> None:
    (row,) = told(
        {"guid": "g", "notify_type": 1202, "data": {"tpUsername": "t", "nickname": "N"}}
    ).contacts.values()
    assert row["nickName"] == '{"string":"N"}'


@pytest.mark.parametrize(
    ("data", "error_type", "reason", "fields"),
    [
        ({"userName": {}}, "schema_error", "missing_required_field", {"username"}),
        ({"sex": "f"}, "validation_error", "type_error", {"sex"}),
        ({"sex": 3}, "validation_error", "out_of_range", {"sex"}),
        ({"deleteFlag": 2}, "validation_error", "out_of_range", {"deleteFlag"}),
        ({"verifyFlag": 2**31}, "validation_error", "out_of_range", {"verifyFlag"}),
    ],
)
def test_what_cannot_become_a_contact(
    told: Any, data: dict[str, Any], error_type: str, reason: str, fields: set[str]
) -> None:
    expected = told(changed(**data))
    assert not expected.contacts
    ((where, row),) = expected.dead_letters.items()
    assert (row["error_type"], row["reason"], expected.faulty_fields[where]) == (error_type, reason, fields)


def test_forty_keys_make_a_contact_of_any_notification(told: Any) -> None:
    data = {"username": "u", **{f"k{i}": i for i in range(39)}}
    assert list(told({"guid": "g", "notify_type": 1039, "data": data}).contacts) == ["u"]
    assert not told({"guid": "g", "notify_type": 1039, "data": {"username": "u"}}).contacts
