"""Payloads to rows: which table, which columns, or why not (LAKE-20, LAKE-4, LAKE-53)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from millrace_testkit.model.journals import Line
from millrace_testkit.model.wire import Json, WrongTypeError, compact, integer, json_column, source, text

INT32_MAX = 2**31 - 1
SCHEMA_VERSION = 1
ENVELOPE = ("guid", "notify_type", "data")
MESSAGE_STRINGS = ("from_username", "to_username", "chatroom", "chatroom_sender", "msg_id", "content", "desc")
MESSAGE_KEYS = (*MESSAGE_STRINGS, "msg_type", "create_time", "is_chatroom_msg", "source")
MESSAGE_REQUIRED = ("msg_id", "from_username", "to_username", "create_time", "is_chatroom_msg")
USERNAMES = ("userName", "username", "tpUsername")
CONTACT_STRINGS = ("alias", "encryptUserName", "country", "province", "city", "mobile")
CONTACT_RANGES = {
    "contactType": (0, INT32_MAX),
    "deleteFlag": (0, 1),
    "verifyFlag": (0, INT32_MAX),
    "sex": (0, 2),
}
CONTACT_JSON = ("nickName", "remark", "snsUserInfo", "customInfo")

Row = dict[str, Any]


class RejectedError(Exception):
    """The payload, or one element of a batch, cannot become a row. `fields`: those at fault."""

    def __init__(self, error_type: str, reason: str, fields: set[str]) -> None:
        super().__init__(f"{reason}: {sorted(fields)}")
        self.error_type = error_type
        self.reason = reason
        self.fields = fields


@dataclass(frozen=True)
class Event:
    """What one payload, or one element of a batch, means.

    `table` is where it goes. For contacts `deletion` says that the row is only the fallback for an
    unknown username and `extra` what a known row's extra_fields get. For dead_letters `fields` are the
    fields at fault.
    """

    table: str
    row: Row
    deletion: bool = False
    extra: dict[str, Json] | None = None
    fields: frozenset[str] = frozenset()


def events(line: Line, payload: dict[str, Json]) -> Iterator[Event]:
    """What the line's payload means: one event, or one per element of a 1011 batch."""
    kind = _number(payload.get("notify_type"))
    data = payload.get("data")
    if kind == 1011 and isinstance(data, list) and data:
        for place, element in enumerate(data):
            yield _element(line, payload, element, place)
        return
    try:
        yield _single(line, payload, kind, data)
    except RejectedError as error:
        yield rejected(line, error, body=line.raw.decode())


def _single(line: Line, payload: dict[str, Json], kind: int | None, data: Json) -> Event:
    beside = {key: value for key, value in payload.items() if key not in ENVELOPE}
    if "data" not in payload and "msg_id" in payload:  # (a)
        return message(line, payload, beside, {}, 0)
    fields = data if isinstance(data, dict) else {}
    named = any(name in fields for name in USERNAMES)
    if kind == 1010 and "msg_id" in fields:  # (b)
        return message(line, payload, fields, beside, 0)
    if kind in (1200, 1201, 1202) and named:  # (c)
        return contact(line, payload, fields, beside)
    if kind != 1011:  # a batch that is no array of objects goes to other, whatever its shape (2.2)
        if {"msg_id", "create_time", "from_username"} <= fields.keys():  # (d)
            return message(line, payload, fields, beside, 0)
        if named and len(fields) >= 40:
            return contact(line, payload, fields, beside)
    if kind == 1010:  # (e)
        raise RejectedError("schema_error", "missing_required_field", {"msg_id"})
    return other(line, payload)  # (f)


def _element(line: Line, payload: dict[str, Json], element: Json, place: int) -> Event:
    beside = {key: value for key, value in payload.items() if key not in ENVELOPE}
    try:
        if not isinstance(element, dict) or "msg_id" not in element:
            raise RejectedError("schema_error", "missing_required_field", {"msg_id"})
        return message(line, payload, element, beside, place)
    except RejectedError as error:
        return rejected(line, error, body=compact(element), element=place)


def message(line: Line, payload: Row, data: Row, beside: Row, element: int) -> Event:
    """A row of messages (4.1). Raises RejectedError: first what is missing, then types, then ranges."""
    values = {**{name: data.get(name) for name in MESSAGE_KEYS}, **_envelope(payload)}
    _require(values, (*MESSAGE_REQUIRED, "guid", "notify_type"))
    if values["msg_type"] is None:
        values["msg_type"] = 0
    numbers = _integers(
        values,
        {
            "create_time": (1, INT32_MAX - 1),
            "is_chatroom_msg": (0, 1),
            "msg_type": (0, INT32_MAX),
            "notify_type": (0, INT32_MAX),
        },
    )
    created = datetime.fromtimestamp(numbers["create_time"], UTC)
    unknown = {key: value for key, value in data.items() if key not in MESSAGE_KEYS}
    row = {
        **{name: text(values[name]) for name in (*MESSAGE_STRINGS, "guid")},
        **numbers,
        "create_time": created,
        "source": source(values["source"]),
        "extra_fields": _extra({**beside, **unknown}, order=[*unknown, *beside]),
        "schema_version": SCHEMA_VERSION,
        "year": f"{created.year:04}",
        "month": f"{created.month:02}",
        "day": f"{created.day:02}",
    }
    return Event("messages", {**row, **_origin(line, element)})


def contact(line: Line, payload: Row, data: Row, beside: Row) -> Event:
    """A row of contacts (4.2), or the deletion that a 1201 is (LAKE-41). Raises RejectedError."""
    rest = dict(data)
    values: Row = {"username": "", **_envelope(payload)}
    for name in USERNAMES:
        found = rest.get(name)
        inner = found.get("string") if name == "userName" and isinstance(found, dict) else found
        values["username"] = text(inner)
        if values["username"]:
            if inner is found or found == {"string": inner}:  # else the rest of the object would be lost
                del rest[name]
            break
    _require(values, ("username", "guid", "notify_type"))
    ranges = {**CONTACT_RANGES, "notify_type": (0, INT32_MAX)}
    for name in CONTACT_RANGES:
        value = rest.pop(name, None)
        values[name] = 0 if value is None else value
    row: Row = {"username": values["username"], "guid": text(values["guid"]), **_integers(values, ranges)}
    row |= {name: text(rest.pop(name, None)) for name in CONTACT_STRINGS}
    if rest.get("nickName") in (None, "") and "nickname" in rest:
        rest["nickName"] = rest.pop("nickname")
    for name in CONTACT_JSON:
        value = rest.pop(name, None)
        row[name], keep_original = json_column(value)
        if keep_original:
            rest[f"{name}_raw"] = value
    unknown = {**beside, **rest}
    deletion = row["notify_type"] == 1201
    if deletion:
        row["deleteFlag"] = 1
    row |= {"extra_fields": _extra(unknown), "schema_version": SCHEMA_VERSION, **_origin(line, 0)}
    return Event("contacts", row, deletion=deletion, extra=unknown)


def other(line: Line, payload: Row) -> Event:
    """A row of other: any notification, whole (LAKE-22). Raises RejectedError when the envelope is not one."""
    values = _envelope(payload)
    _require(values, ("guid", "notify_type"))
    numbers = _integers(values, {"notify_type": (0, INT32_MAX)})
    row = {"guid": text(values["guid"]), **numbers, "payload": line.raw.decode(), "received_day": line.day}
    return Event("other", {**row, **_origin(line, 0)})


def rejected(line: Line, error: RejectedError, *, body: str | None, element: int = 0) -> Event:
    """A row of dead_letters; `body` None: the line is not UTF-8, its bytes are kept as base64."""
    row = {"error_type": error.error_type, "reason": error.reason, "body": body, **_origin(line, element)}
    return Event("dead_letters", row, fields=frozenset(error.fields))


def _number(value: Json) -> int | None:
    try:
        return integer(value)
    except WrongTypeError:
        return None


def _envelope(payload: Row) -> Row:
    return {"guid": payload.get("guid"), "notify_type": payload.get("notify_type")}


def _require(values: Row, names: tuple[str, ...]) -> None:
    missing = {name for name in names if values[name] is None or values[name] == ""}
    if missing:
        raise RejectedError("schema_error", "missing_required_field", missing)


def _integers(values: Row, ranges: dict[str, tuple[int, int]]) -> dict[str, int]:
    numbers = {name: _number(values[name]) for name in ranges}
    wrong = {name for name, number in numbers.items() if number is None}
    if wrong:
        raise RejectedError("validation_error", "type_error", wrong)
    known = {name: number for name, number in numbers.items() if number is not None}
    outside = {name for name, number in known.items() if not ranges[name][0] <= number <= ranges[name][1]}
    if outside:
        raise RejectedError("validation_error", "out_of_range", outside)
    return known


def _extra(unknown: dict[str, Json], order: list[str] | None = None) -> str | None:
    """extra_fields: the unknown keys as a JSON object's text, NULL when there is none (LAKE-42)."""
    return compact({key: unknown[key] for key in order or unknown}) if unknown else None


def _origin(line: Line, element: int) -> Row:
    return {"src_door": line.door, "src_file": line.file, "src_line": line.number, "src_element": element}
