"""What keeps records of one entity in order: msg_id, username, or the origin. Pure."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from ingest_service.land.kinds import CONTACT_NAMES, Contact, Json, Kind, Message
from ingest_service.land.values import text, without_surrogates
from millrace_ports.bus.port import Origin

LONGEST_KEY: Final = 64
"""Characters; a longer id is keyed by its hash."""


def key_of(kind: Kind, origin: Origin) -> bytes:
    """The key of a record that holds this one thing; the same for every repeat of it."""
    try:
        name = _name(kind)
    except RecursionError:
        name = ""  # an id that is a deeply nested value: refused on landing, whatever its key
    key = without_surrogates(name).encode()
    if not key:
        return origin_key(origin)
    return key if len(name) <= LONGEST_KEY else hashlib.blake2b(key, digest_size=16).hexdigest().encode()


def origin_key(origin: Origin) -> bytes:
    """`door/day/line/element`."""
    return origin_text(origin).encode()


def origin_text(origin: Origin) -> str:
    """`door/day/line/element`, which names a record of this installation for ever."""
    return f"{origin.door}/{origin.day}/{origin.line}/{origin.element}"


def _name(kind: Kind) -> str:
    match kind:
        case Message():
            return text(kind.data.get("msg_id"))
        case Contact():
            return text(_username(kind.data))
        case _:
            return ""


def _username(data: Json) -> Any:
    """`userName.string`, else `userName`, `username`, `tpUsername`: the first that is not empty."""
    for name in CONTACT_NAMES:
        value = data.get(name)
        if isinstance(value, dict):
            value = value.get("string")
        if value not in (None, ""):
            return value
    return None
