"""Normalising single wire values (LAKE-50 to LAKE-52). Pure."""

from __future__ import annotations

import decimal
import re
from typing import Any, Final

import msgspec

from ingest_service.jsontext import NotAnObject, parse_object

INT32_MAX: Final = 2**31 - 1
_DECIMAL: Final = re.compile(r"-?[0-9]+", re.ASCII)
_SURROGATES: Final = re.compile("[\ud800-\udfff]")

encode_json = msgspec.json.Encoder(decimal_format="number").encode


class WrongTypeError(ValueError):
    """A value that the column cannot take (`type_error`)."""


def compact(value: Any) -> str:
    """Compact JSON text; integers of any size stay exact."""
    return encode_json(value).decode()


def without_surrogates(value: Any) -> Any:
    """The value with every lone surrogate replaced by U+FFFD, in keys too (LAKE-30)."""
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, list):
        return [without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(item) for key, item in value.items()}
    return value


def text(value: Any) -> str:
    """A string column: null is empty, a number its decimal text, anything else compact JSON text (LAKE-51)."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float):
        plain = format(decimal.Decimal(repr(value)), "f")
        return plain[:-2] if plain.endswith(".0") else plain
    return compact(without_surrogates(value))


def source_text(value: Any) -> str:
    """The `source` column: a string stays, an integer becomes its decimal text, null is empty (LAKE-50)."""
    if isinstance(value, str):
        return value
    return "" if value is None else compact(without_surrogates(value))


def integer(value: Any) -> int:
    """An integer column: a JSON integer, an integral number or a decimal string (LAKE-51).

    Raises:
        WrongTypeError: anything else, null and booleans too.
    """
    if isinstance(value, bool):
        raise WrongTypeError
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and len(value) <= 4000 and _DECIMAL.fullmatch(value):
        return int(value)
    raise WrongTypeError


def json_object_text(value: Any) -> tuple[str, Any]:
    """A JSON-string column (LAKE-52): its text, and the original where the text could not keep it (else None)."""
    if isinstance(value, dict):
        return compact(value), None
    if value is None or value == "":
        return "{}", None
    if isinstance(value, str):
        parsed = _parsed(value)
        if isinstance(parsed, dict):
            return value, None
        if parsed is None and value[0] in "{[":
            return "{}", value
        return compact({"string": value}), None
    return "{}", value


def _parsed(value: str) -> Any:
    """The value of a JSON text that starts an object or array; None when it does not parse."""
    if value.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return parse_object(b'{"v":' + value.encode() + b"}")["v"]
    except NotAnObject:
        return None
