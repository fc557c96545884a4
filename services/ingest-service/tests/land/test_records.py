"""Every field of LAKE sections 4 and 5: type, default, validation, normalisation."""

import json
from typing import Any, Final

import pyarrow as pa
import pytest

from ingest_service.land.batch import Batch, build
from ingest_service.land.contacts import Event
from ingest_service.land.side import DeadLetter
from millrace_schemas import datasets

from .conftest import NOW_S, Landing, contact, message

TIME: Final = pa.timestamp("us", "UTC")
GENERATED: Final = {
    "ingestion_time": (TIME, False),
    "extra_fields": (pa.string(), True),
    "schema_version": (pa.int32(), False),
    "src_file": (pa.string(), False),
    "src_line": (pa.int64(), False),
}
MESSAGE: Final = {
    **dict.fromkeys(
        (
            "msg_id",
            "from_username",
            "to_username",
            "chatroom",
            "chatroom_sender",
            "content",
            "desc",
            "source",
            "guid",
        ),
        (pa.string(), False),
    ),
    "msg_type": (pa.int32(), False),
    "create_time": (TIME, False),
    "is_chatroom_msg": (pa.int8(), False),
    "notify_type": (pa.int32(), False),
    **GENERATED,
}
CONTACT: Final = {
    **dict.fromkeys(
        (
            "username",
            "alias",
            "encryptUserName",
            "country",
            "province",
            "city",
            "mobile",
            "nickName",
            "remark",
        ),
        (pa.string(), False),
    ),
    **dict.fromkeys(("snsUserInfo", "customInfo", "guid"), (pa.string(), False)),
    **dict.fromkeys(("contactType", "verifyFlag", "notify_type"), (pa.int32(), False)),
    **dict.fromkeys(("deleteFlag", "sex"), (pa.int8(), False)),
    **GENERATED,
}
OTHER: Final = {
    **dict.fromkeys(("guid", "payload", "received_day", "src_file"), (pa.string(), False)),
    "notify_type": (pa.int32(), False),
    "ingestion_time": (TIME, False),
    "src_line": (pa.int64(), False),
}


@pytest.mark.parametrize(
    ("dataset", "fields"), [("messages", MESSAGE), ("contacts", CONTACT), ("other", OTHER)]
)
def test_every_field_is_stored_by_its_type(dataset: str, fields: dict[str, tuple[pa.DataType, bool]]) -> None:
    """LAKE-4.1, LAKE-4.2, LAKE-22; seconds are kept as microseconds, since Delta has no others."""
    schema = datasets.load(dataset).arrow_schema()
    assert {name: (schema.field(name).type, schema.field(name).nullable) for name in fields} == fields


def built(*payloads: bytes | dict[str, Any]) -> Batch:
    batch = build([Landing.chunk(payloads)], ingested_at_s=NOW_S)
    batch.counts.messages = batch.messages.num_rows
    assert batch.counts.add_up()
    return batch


def row_of(payload: bytes | dict[str, Any]) -> dict[str, Any]:
    (row,) = built(payload).messages.to_pylist()
    return dict(row)


def event_of(payload: bytes | dict[str, Any]) -> Event:
    (event,) = built(payload).contacts
    return event


def refusal_of(payload: bytes | dict[str, Any]) -> DeadLetter:
    (letter,) = built(payload).dead_letters
    return letter


def test_a_message_of_required_fields_has_defaults_for_all_others() -> None:
    """LAKE-4.1: absent and null alike."""
    required = {
        "chatroom": ...,
        "chatroom_sender": ...,
        "msg_type": ...,
        "content": ...,
        "desc": ...,
        "source": ...,
    }
    lean = row_of(message("1", **required))
    empty = row_of(message("1", **dict.fromkeys(required)))
    assert lean == empty
    assert {name: lean[name] for name in required} == {
        "chatroom": "",
        "chatroom_sender": "",
        "msg_type": 0,
        "content": "",
        "desc": "",
        "source": "",
    }
    assert (lean["extra_fields"], lean["schema_version"]) == (None, 1)
    assert (lean["src_file"], lean["src_line"], lean["guid"], lean["notify_type"]) == (
        "2026-03-14.jsonl",
        1,
        "g-1",
        1010,
    )
    assert lean["ingestion_time"].timestamp() == NOW_S
    assert (lean["year"], lean["month"], lean["day"]) == ("2026", "03", "14")


@pytest.mark.parametrize(
    "field",
    ["msg_id", "from_username", "to_username", "create_time", "is_chatroom_msg", "guid", "notify_type"],
)
@pytest.mark.parametrize("value", [..., None, ""])
def test_a_message_without_a_required_field_is_refused_by_its_name(field: str, value: Any) -> None:
    """LAKE-53; `data` as in a flat message, so that notify_type and msg_id do not decide the kind."""
    flat = {"guid": "g", "notify_type": 1010} | message("1")["data"]
    payload: dict[str, Any] = {**flat, field: value}
    if value is ...:
        del payload[field]
    if field == "msg_id" and value is ...:
        payload = {"guid": "g", "notify_type": 1010, "data": {}}
    letter = refusal_of(payload)
    assert (letter.refused.error_type, letter.refused.reason) == ("schema_error", "missing_required_field")
    assert letter.refused.fields == (field,)


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("create_time", [1, 2147483646], [0, -1, 2147483647, 1773457547000, 2**70]),
        ("is_chatroom_msg", [0, 1], [-1, 2]),
        ("msg_type", [0, 10002, 2147483647], [-1, 2147483648]),
    ],
)
def test_ranges_of_a_message(field: str, good: list[int], bad: list[int]) -> None:
    """LAKE-53, LAKE-4.1."""
    for value in good:
        assert built(message("1", **{field: value})).messages.num_rows == 1
    for value in bad:
        refused = refusal_of(message("1", **{field: value})).refused
        assert (refused.error_type, refused.reason, refused.fields) == (
            "validation_error",
            "out_of_range",
            (field,),
        )


@pytest.mark.parametrize(
    ("value", "stored"), [(0, 0), (5000, 5000), (2147483647, 2147483647), (-1, None), (2**31, None)]
)
def test_notify_type_of_a_flat_message(value: int, stored: int | None) -> None:
    """LAKE-20 (a), LAKE-4.1."""
    payload = {"guid": "g", "notify_type": value} | message("1")["data"]
    if stored is None:
        assert refusal_of(payload).refused.fields == ("notify_type",)
    else:
        assert row_of(payload)["notify_type"] == stored


@pytest.mark.parametrize("field", ["create_time", "is_chatroom_msg", "msg_type"])
def test_integers_come_as_integers_integral_numbers_or_decimal_strings(field: str) -> None:
    """LAKE-51."""
    values = [row_of(message("1", **{field: value}))[field] for value in (1, 1.0, "1", 1e0)]
    assert len(set(values)) == 1
    for wrong in (1.5, "1.0", "one", " 1", "0x1", "1e0", True, False, [], {}, [1]):
        refused = refusal_of(message("1", **{field: wrong})).refused
        assert (refused.error_type, refused.reason, refused.fields) == (
            "validation_error",
            "type_error",
            (field,),
        )


@pytest.mark.parametrize(
    "field", ["msg_id", "from_username", "to_username", "chatroom", "chatroom_sender", "content", "desc"]
)
def test_strings_of_a_message(field: str) -> None:
    """LAKE-51: number to decimal text, object or array to compact JSON; text is never trimmed or parsed."""
    for value, stored in [
        (7304418825596013377, "7304418825596013377"),
        (2**70, str(2**70)),
        (12.5, "12.5"),
        (1e21, "1000000000000000000000"),
        ({"a": [1, "é"]}, '{"a":[1,"é"]}'),
        ([1, None], "[1,null]"),
        (" <xml> \n 📎 ", " <xml> \n 📎 "),
    ]:
        assert row_of(message(**({"msg_id": "1"} | {field: value})))[field] == stored


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (0, "0"),
        (17, "17"),
        (2**64 + 1, str(2**64 + 1)),
        (None, ""),
        ("", ""),
        ("<msgsource/> ", "<msgsource/> "),
        (1.5, "1.5"),
        (True, "true"),
        ({"a": 1}, '{"a":1}'),
        (["x"], '["x"]'),
    ],
)
def test_source(value: Any, stored: str) -> None:
    """LAKE-50."""
    assert row_of(message("1", source=value))["source"] == stored


def test_unknown_keys_keep_value_and_type() -> None:
    """LAKE-42: of the data and of the envelope."""
    unknown = {
        "big": 2**64 - 1,
        "negative": -(2**63),
        "huge": 10**40,
        "fraction": 0.1,
        "whole": 1.0,
        "none": None,
        "flag": False,
        "text": "1",
        "nested": {"list": [1, "1", None, {"k": 2**63}]},
    }
    assert json.loads(row_of(message("1", **unknown))["extra_fields"]) == unknown
    assert '"whole":1.0' in row_of(message("1", **unknown))["extra_fields"]
    beside = message("1") | {"trace": {"n": 2**64}}
    assert json.loads(row_of(beside)["extra_fields"]) == {"trace": {"n": 2**64}}
    assert json.loads(event_extra(contact("a", **unknown))) == unknown


def event_extra(payload: dict[str, Any]) -> str:
    return json.dumps(dict(event_of(payload).extra))


def test_a_contact_of_a_name_alone_has_defaults_for_all_others() -> None:
    """LAKE-4.2: absent and null alike."""
    strings = ("alias", "encryptUserName", "country", "province", "city", "mobile")
    numbers = ("contactType", "deleteFlag", "verifyFlag", "sex")
    texts = ("nickName", "remark", "snsUserInfo", "customInfo")
    expected = dict.fromkeys(strings, "") | dict.fromkeys(numbers, 0) | dict.fromkeys(texts, "{}")
    for payload in (contact("a"), contact("a", **dict.fromkeys((*strings, *numbers, *texts)))):
        event = event_of(payload)
        assert {name: event.row[name] for name in expected} == expected
        assert (event.username, event.row["guid"], event.row["notify_type"], event.extra) == (
            "a",
            "g-1",
            1200,
            {},
        )


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("contactType", [0, 4, 2147483647], [-1, 2**31]),
        ("deleteFlag", [0, 1], [-1, 2]),
        ("verifyFlag", [0, 2147483647], [-1, 2**31]),
        ("sex", [0, 1, 2], [-1, 3]),
    ],
)
def test_integers_of_a_contact(field: str, good: list[int], bad: list[int]) -> None:
    """LAKE-4.2, LAKE-51, LAKE-53."""
    for value in good:
        assert event_of(contact("a", **{field: value})).row[field] == value
        assert event_of(contact("a", **{field: str(value)})).row[field] == value
    for value in bad:
        assert refusal_of(contact("a", **{field: value})).refused.reason == "out_of_range"
    for wrong in ("x", 0.5, True, {}):
        refused = refusal_of(contact("a", **{field: wrong})).refused
        assert (refused.reason, refused.fields) == ("type_error", (field,))


@pytest.mark.parametrize(
    ("data", "username", "extra"),
    [
        ({"userName": {"string": "a"}, "username": "b"}, "a", {"username": "b"}),
        ({"userName": "a"}, "a", {}),
        ({"userName": {"string": "a", "more": 1}}, "a", {"userName": {"string": "a", "more": 1}}),
        ({"userName": {}, "username": "b", "tpUsername": "c"}, "b", {"userName": {}, "tpUsername": "c"}),
        ({"userName": {"string": ""}, "tpUsername": "c"}, "c", {"userName": {"string": ""}}),
        ({"username": None, "tpUsername": "c"}, "c", {"username": None}),
        ({"username": 7}, "7", {}),
    ],
)
def test_the_name_of_a_contact(data: dict[str, Any], username: str, extra: dict[str, Any]) -> None:
    """LAKE-4.2: userName.string, else username, else tpUsername."""
    event = event_of({"guid": "g", "notify_type": 1202, "data": data})
    assert (event.username, dict(event.extra)) == (username, extra)


@pytest.mark.parametrize("data", [{"userName": {}}, {"username": ""}, {"tpUsername": None}])
def test_a_contact_without_a_name_is_refused(data: dict[str, Any]) -> None:
    """LAKE-53."""
    assert refusal_of({"guid": "g", "notify_type": 1200, "data": data}).refused.fields == ("username",)
    nameless = {"guid": "", "notify_type": 1200, "data": data}
    assert refusal_of(nameless).refused.fields == ("username", "guid")


@pytest.mark.parametrize("field", ["nickName", "remark", "snsUserInfo", "customInfo"])
@pytest.mark.parametrize(
    ("value", "stored", "raw"),
    [
        ({"string": "王敏", "n": 2**64}, '{"string":"王敏","n":18446744073709551616}', None),
        ({}, "{}", None),
        (None, "{}", None),
        ("", "{}", None),
        ('{"a": 1}', '{"a": 1}', None),
        ("王敏", '{"string":"王敏"}', None),
        ('say "hi"', '{"string":"say \\"hi\\""}', None),
        ("17", '{"string":"17"}', None),
        ("[1,2]", '{"string":"[1,2]"}', None),
        ("{broken", "{}", "{broken"),
        ("[broken", "{}", "[broken"),
        ('{"a":NaN}', "{}", '{"a":NaN}'),
        ([1], "{}", [1]),
        (5, "{}", 5),
    ],
)
def test_json_texts_of_a_contact(field: str, value: Any, stored: str, raw: Any) -> None:
    """LAKE-52."""
    event = event_of(contact("a", **{field: value}))
    assert event.row[field] == stored
    assert dict(event.extra) == ({} if raw is None else {f"{field}_raw": raw})


@pytest.mark.parametrize(
    ("data", "stored", "extra"),
    [
        ({"nickname": "Omar"}, '{"string":"Omar"}', {}),
        ({"nickName": {"string": "A"}, "nickname": "B"}, '{"string":"A"}', {"nickname": "B"}),
        ({"nickName": None, "nickname": "B"}, '{"string":"B"}', {}),
        ({"nickName": {}, "nickname": "B"}, "{}", {"nickname": "B"}),
    ],
)
def test_the_nickname_of_a_contact(data: dict[str, Any], stored: str, extra: dict[str, Any]) -> None:
    """LAKE-4.2: nickName, else nickname."""
    event = event_of(contact("a", **data))
    assert (event.row["nickName"], dict(event.extra)) == (stored, extra)


FULL: Final[dict[str, Any]] = {
    **{name: {"string": "x"} for name in ("pyinitial", "quanPin", "remarkPyinitial", "remarkQuanPin")},
    **dict.fromkeys(
        [
            "bitMask",
            "bitVal",
            "imgFlag",
            "roomInfoCount",
            "chatRoomNotify",
            "addContactScene",
            "deleteContactScene",
            "personalCard",
            "hasWeiXinHdHeadImg",
            "level",
            "source",
            "weiboFlag",
            "albumStyle",
            "albumFlag",
            "extFlag",
            "textStatusFlag",
            "isInChatRoom",
            "eraseChatRoomMemberData",
            "chatroomVersion",
            "chatroomMaxCount",
            "chatroomAccessType",
            "chatroomInfoVersion",
            "chatroomStatus",
        ],
        4294967295,
    ),
    **dict.fromkeys(
        [
            "signature",
            "verifyInfo",
            "smallHeadImgUrl",
            "bigHeadImgUrl",
            "albumBgimgId",
            "chatRoomBusinessType",
            "bitValue2",
        ],
        "0",
    ),
    "bitMask2": "18446744073709551615",
    "flag": 3,
    "imgBuf": {"iLen": 0},
    "contactExtraInfoBuf": {"iLen": 0},
    "domainList": {},
    "customizedInfo": {"brandFlag": 0},
    "additionalContactList": {"linkedinContactItem": {}},
    "newChatroomData": {"memberCount": 86, "infoMask": 1, "chatRoomUserName": {}, "watchMemberCount": 0},
    "phoneNumListInfo": {"count": 0},
    "ringBackSetting": {"finderObjectId": "0", "startTs": 0, "endTs": 0},
}


def test_every_other_key_of_a_whole_contact_is_kept_unchanged(landing: Landing) -> None:
    """LAKE-4.3, LAKE-42, LAKE-21; a chatroom is a contact by its name (LAKE-40)."""
    columns = {
        "nickName": {"string": "合同与采购"},
        "remark": {},
        "sex": 0,
        "contactType": 4,
        "verifyFlag": 0,
        "deleteFlag": 0,
        "alias": "room_1",
        "snsUserInfo": {
            "snsFlag": 1,
            "snsBgobjectId": "14502117730865549312",
            "snsFlagEx": 0,
            "snsPrivacyRecent": 72,
        },
        "city": "Hangzhou",
        "province": "Zhejiang",
        "country": "CN",
        "encryptUserName": "v3_0@chatroom",
        "mobile": "13905718264",
        "customInfo": {"detailVisible": 1, "detail": "{}"},
    }
    landing.land(contact("47210093358@chatroom", **columns, **FULL))
    (row,) = landing.rows("contacts")
    assert row["username"] == "47210093358@chatroom"
    assert json.loads(row["extra_fields"]) == FULL
    for name, value in columns.items():
        assert (json.loads(row[name]) if isinstance(value, dict) else row[name]) == value


def test_an_enterprise_contact(landing: Landing) -> None:
    """LAKE-4.3, 1202 only: 17 keys, of which the count decides nothing (LAKE-21)."""
    rest = {
        "type": 1,
        "bigHeadimg": "u",
        "smallHeadimg": "u",
        "source": 3,
        "appId": "a",
        "descWordingId": "d",
    }
    rest |= dict.fromkeys(("nicknamePyinit", "nicknameQuanpin", "remarkPyinit", "remarkQuanpin"), "x")
    rest |= {"finderUsername": "f", "flag": "18446744073709551615"}
    data = {
        "tpUsername": "25984@openim",
        "nickname": "李想",
        "remark": "供应商",
        "sex": 1,
        "customInfo": {"detail": "x"},
    }
    landing.land({"guid": "g", "notify_type": 1202, "data": data | rest})
    (row,) = landing.rows("contacts")
    assert (row["username"], row["notify_type"], row["sex"]) == ("25984@openim", 1202, 1)
    assert (row["nickName"], row["remark"]) == ('{"string":"李想"}', '{"string":"供应商"}')
    assert row["customInfo"] == '{"detail":"x"}'
    assert json.loads(row["extra_fields"]) == rest


MANY: Final = {f"k{n}": n for n in range(39)}
FLAT: Final = message("1")["data"]


@pytest.mark.parametrize(
    ("payload", "table"),
    [
        ({"guid": "g", "notify_type": 1006} | FLAT, "messages"),  # (a)
        ({"guid": "g", "notify_type": 1200, "userName": "a"}, "other"),  # (a) needs a msg_id
        (message("1"), "messages"),  # (b)
        (message("1", username="a"), "messages"),
        ({"guid": "g", "notify_type": "1010", "data": FLAT}, "messages"),
        ({"guid": "g", "notify_type": 1011, "data": [FLAT]}, "messages"),
        ({"guid": "g", "notify_type": 1011, "data": [{"x": 1}]}, "dead"),
        ({"guid": "g", "notify_type": 1011, "data": []}, "other"),
        ({"guid": "g", "notify_type": 1011, "data": FLAT}, "other"),
        ({"guid": "g", "notify_type": 1011, "data": {"username": "a"} | MANY}, "other"),
        ({"guid": "g", "notify_type": 1201, "data": {"userName": "a"}}, "contacts"),  # (c)
        ({"guid": "g", "notify_type": 1202, "data": {"tpUsername": "a"}}, "contacts"),
        ({"guid": "g", "notify_type": 1200, "data": {"alias": "a"}}, "other"),
        ({"guid": "g", "notify_type": 1200, "data": FLAT}, "messages"),  # (d) by shape
        ({"guid": "g", "notify_type": 7777, "data": FLAT}, "messages"),
        ({"guid": "g", "notify_type": 7777, "data": {"username": "a"} | MANY}, "contacts"),
        ({"guid": "g", "notify_type": 7777, "data": {"username": 1} | dict(list(MANY.items())[1:])}, "other"),
        ({"guid": "g", "notify_type": 7777, "data": {"username": "a"}}, "other"),
        ({"guid": "g", "notify_type": 1010, "data": {"username": "a"} | MANY}, "contacts"),
        ({"guid": "g", "notify_type": 1010, "data": {"x": 1}}, "dead"),  # (e)
        ({"guid": "g", "notify_type": 1010, "data": []}, "dead"),
        ({"guid": "g", "notify_type": 1010}, "dead"),
        *(
            ({"guid": "g", "notify_type": kind, "data": {}}, "other")
            for kind in (0, 1001, 1006, 1203, 2006, 99999)
        ),  # (f)
        ({"guid": "g", "notify_type": 1006, "data": None}, "other"),
        ({"guid": "g", "notify_type": 1006, "data": "text"}, "other"),
        ({"guid": "g", "notify_type": -1, "data": {}}, "dead"),
        ({"guid": "g", "notify_type": "x", "data": {}}, "dead"),
        ({"notify_type": 1006, "data": {}}, "dead"),
        ({}, "dead"),
    ],
)
def test_kinds_are_told_apart_by_the_first_rule_that_fits(payload: dict[str, Any], table: str) -> None:
    """LAKE-20."""
    batch = built(payload)
    found = {
        "messages": batch.messages.num_rows,
        "contacts": len(batch.contacts),
        "other": len(batch.other),
        "dead": len(batch.dead_letters),
    }
    assert found == dict.fromkeys(found, 0) | {table: 1}


@pytest.mark.parametrize("keys", [0, 1, 200])
def test_the_number_of_keys_never_rejects(keys: int) -> None:
    """LAKE-21."""
    more = {f"k{n}": n for n in range(keys)}
    assert built(message("1", **more)).messages.num_rows == 1
    assert event_of(contact("a", **more)).extra == more


def test_a_notification_is_kept_whole(landing: Landing) -> None:
    """LAKE-22: the payload's own text, the received day of its journal, where it stands."""
    text = b'{"guid":"g-1", "notify_type":1006,  "data":{"n":18446744073709551617,"t":"\\ud83d"}}'
    landing.land(message("1"), text)
    (row,) = landing.rows("other")
    assert row["payload"].encode() == text
    assert (row["guid"], row["notify_type"], row["received_day"]) == ("g-1", 1006, "2026-03-14")
    assert (row["src_file"], row["src_line"]) == ("2026-03-14.jsonl", 2)
    assert row["ingestion_time"].timestamp() == NOW_S


def test_each_element_of_a_batch_is_a_row_or_a_reject_of_its_own(landing: Landing) -> None:
    """LAKE-20 (b), LAKE-2.2 1011, LAKE-61."""
    second = message("2", is_chatroom_msg=2)["data"]
    counts = landing.land(
        {"guid": "g", "notify_type": 1011, "data": [FLAT, second, "x", {}, FLAT | {"msg_id": "3"}]}
    )
    assert (counts.lines, counts.messages, counts.rejected) == (5, 2, 3)
    assert [(row["msg_id"], row["src_element"], row["notify_type"]) for row in landing.rows("messages")] == [
        ("1", 0, 1011),
        ("3", 4, 1011),
    ]
    assert [(row["src_element"], row["reason"]) for row in landing.rows("dead_letters")] == [
        (1, "out_of_range"),
        (2, "missing_required_field"),
        (3, "missing_required_field"),
    ]
