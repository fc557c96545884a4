"""Contact payloads -> what they change of a contact (LAKE-4.2, LAKE-40, 41, 52). Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from ingest_service.land import refusal
from ingest_service.land.kinds import CONTACT_DELETED, Contact
from ingest_service.land.places import Place
from ingest_service.land.values import (
    INT32_MAX,
    WrongTypeError,
    integer,
    json_object_text,
    text,
    without_surrogates,
)
from millrace_schemas import datasets
from millrace_schemas.masking import mask_custom_info, mask_mobile_value, masked_values

SCHEMA_VERSION: Final = datasets.load("contacts").schema_version

Row = dict[str, Any]

_STRINGS: Final = ("alias", "encryptUserName", "country", "province", "city", "mobile")
_INTEGERS: Final = {
    "contactType": (0, INT32_MAX),
    "deleteFlag": (0, 1),
    "verifyFlag": (0, INT32_MAX),
    "sex": (0, 2),
}
_JSON: Final = ("nickName", "remark", "snsUserInfo", "customInfo")


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """A change of one contact, or its deletion.

    `row` is the whole new row; for a deletion, the row of defaults that it leaves when nothing is known of the
    contact. `extra` are the keys of extra_fields that it brings. Neither has its order yet: `folded` gives that.
    """

    username: str
    order: str
    row: Row
    deletion: bool
    extra: Mapping[str, Any]


def contact_event(contact: Contact, place: Place, ingested_at_s: int) -> Event:
    """What a contact payload changes.

    Raises:
        Refused: without a name or an envelope field, or with a value of a wrong type or range.
    """
    data = dict(contact.data)
    username = _username(data)
    absent = [] if username else ["username"]
    absent += [
        n for n, v in (("guid", contact.guid), ("notify_type", contact.notify_type)) if v in (None, "")
    ]
    if absent:
        raise refusal.missing(absent)
    row: Row = {"username": username}
    row |= _integers(
        {"notify_type": contact.notify_type} | {name: data.pop(name, None) for name in _INTEGERS}
    )
    row |= {name: _stored(data.pop(name, None)) for name in _STRINGS}
    if data.get("nickName") in (None, "") and "nickname" in data:
        data["nickName"] = data.pop("nickname")
    raw: dict[str, Any] = {}
    for name in _JSON:
        stored, original = json_object_text(without_surrogates(data.pop(name, None)))
        row[name] = stored
        if original is not None:
            raw[f"{name}_raw"] = original
    extra = data | raw
    extra |= {key: value for key, value in contact.extra.items() if key not in extra}
    row |= {
        "guid": _stored(contact.guid),
        "ingestion_time": ingested_at_s,
        "schema_version": SCHEMA_VERSION,
        "src_door": place.door,
        "src_file": place.file,
        "src_line": place.line,
        "src_element": 0,
    }
    deletion = row["notify_type"] == CONTACT_DELETED
    return Event(username, place.order, row, deletion, without_surrogates(extra))


def masked(event: Event) -> Event:
    """The event without personal data in clear (LAKE-54 to LAKE-56)."""
    row = event.row | {
        "mobile": mask_mobile_value(event.row["mobile"]),
        "customInfo": mask_custom_info(event.row["customInfo"]),
    }
    return dataclasses.replace(event, row=row, extra=masked_values(event.extra))


def _username(data: dict[str, Any]) -> str:
    """Takes the name out of the data: `userName.string`, else `username`, else `tpUsername`."""
    wrapped = data.get("userName")
    inner = wrapped.get("string") if isinstance(wrapped, dict) else wrapped
    if inner not in (None, ""):
        if not isinstance(wrapped, dict) or len(wrapped) == 1:
            del data["userName"]
        return _stored(inner)
    for name in ("username", "tpUsername"):
        if data.get(name) not in (None, ""):
            return _stored(data.pop(name))
    return ""


def _stored(value: Any) -> str:
    return str(without_surrogates(text(value)))


def _integers(values: Mapping[str, Any]) -> dict[str, int]:
    """The integer columns, null being 0: the types of all of them are looked at before any range."""
    numbers = {name: 0 if value is None else _integer(name, value) for name, value in values.items()}
    for name, number in numbers.items():
        low, high = _INTEGERS.get(name, (0, INT32_MAX))
        if not low <= number <= high:
            raise refusal.out_of_range(name, f"between {low} and {high}")
    return numbers


def _integer(name: str, value: Any) -> int:
    try:
        return integer(value)
    except WrongTypeError:
        raise refusal.wrong_type(name, "an integer") from None
