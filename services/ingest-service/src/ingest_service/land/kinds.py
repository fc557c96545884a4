"""Telling kinds of payloads apart (LAKE-20). Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ingest_service.land.values import WrongTypeError, integer

MESSAGE: Final = 1010
MESSAGE_BATCH: Final = 1011
CONTACT_CHANGED: Final = 1200
CONTACT_DELETED: Final = 1201
CONTACT_OPENIM: Final = 1202
CONTACT_KINDS: Final = frozenset({CONTACT_CHANGED, CONTACT_DELETED, CONTACT_OPENIM})
CONTACT_NAMES: Final = ("userName", "username", "tpUsername")
ENVELOPE: Final = ("guid", "notify_type", "data")
CONTACT_SHAPE_KEYS: Final = 40

Json = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """One message: envelope values and the object that holds its fields; `element` within a 1011 batch."""

    guid: Any
    notify_type: Any
    data: Json
    extra: Json
    element: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Contact:
    """A contact change, or a deletion when notify_type is 1201."""

    guid: Any
    notify_type: Any
    data: Json
    extra: Json


@dataclasses.dataclass(frozen=True, slots=True)
class Other:
    """Any other notification."""

    guid: Any
    notify_type: Any


@dataclasses.dataclass(frozen=True, slots=True)
class Unfit:
    """Something that says it is a message and has no msg_id: `element` is set for a part of a 1011 batch."""

    missing: tuple[str, ...]
    element: int | None = None
    value: Any = None


Kind = Message | Contact | Other | Unfit


def kinds_of(payload: Json) -> Sequence[Kind]:
    """What a payload is, by the first rule that fits; a 1011 batch gives one per element."""
    guid, notify_type = payload.get("guid"), payload.get("notify_type")
    if "data" not in payload:
        if "msg_id" in payload:  # (a)
            data = {key: value for key, value in payload.items() if key not in ENVELOPE}
            return (Message(guid, notify_type, data, {}),)
        return (_otherwise(guid, notify_type),)
    data = payload["data"]
    extra = {key: value for key, value in payload.items() if key not in ENVELOPE}
    number = _number(notify_type)
    if number == MESSAGE_BATCH:  # (b)
        if isinstance(data, list) and data:
            return tuple(_element(guid, notify_type, item, extra, place) for place, item in enumerate(data))
        return (Other(guid, notify_type),)
    if not isinstance(data, dict):
        return (_otherwise(guid, notify_type),)
    if number == MESSAGE and "msg_id" in data:  # (b)
        return (Message(guid, notify_type, data, extra),)
    named = any(name in data for name in CONTACT_NAMES)
    if number in CONTACT_KINDS and named:  # (c)
        return (Contact(guid, notify_type, data, extra),)
    if "msg_id" in data and "create_time" in data and "from_username" in data:  # (d)
        return (Message(guid, notify_type, data, extra),)
    if named and len(data) >= CONTACT_SHAPE_KEYS:  # (d)
        return (Contact(guid, notify_type, data, extra),)
    return (_otherwise(guid, notify_type),)


def _element(guid: Any, notify_type: Any, item: Any, extra: Json, place: int) -> Kind:
    if isinstance(item, dict) and "msg_id" in item:
        return Message(guid, notify_type, item, extra, place)
    return Unfit(("msg_id",), place, item)


def _otherwise(guid: Any, notify_type: Any) -> Kind:
    if _number(notify_type) == MESSAGE:  # (e)
        return Unfit(("msg_id",))
    return Other(guid, notify_type)  # (f)


def _number(notify_type: Any) -> int | None:
    try:
        return integer(notify_type)
    except WrongTypeError:
        return None
