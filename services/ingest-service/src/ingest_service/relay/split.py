"""A 1011 batch -> one payload for each element (LAKE-20). Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from ingest_service.land.kinds import Json
from ingest_service.land.values import encode_json

_GROWTH: Final = 4
_SMALL: Final = 64 * 1024


def elements_of(payload: Json, data: Sequence[Any], size: int) -> list[bytes] | None:
    """Payloads of one element each, everything beside `data` kept; None when the batch should stay whole.

    That is when it would grow beyond four times its `size` in bytes, since every element carries the rest of
    the payload along, or when it is nested too deeply to be written. Values are exact: integers of any size,
    lone surrogates in escaped form.
    """
    rest = {key: value for key, value in payload.items() if key != "data"}
    try:
        if len(data) * len(encoded(rest)) > _GROWTH * (size + _SMALL):
            return None
        return [encoded({**rest, "data": [element]}) for element in data]
    except RecursionError:
        return None


def encoded(value: Any) -> bytes:
    """Compact JSON; lone surrogates in escaped form. Raises RecursionError."""
    try:
        return encode_json(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()
