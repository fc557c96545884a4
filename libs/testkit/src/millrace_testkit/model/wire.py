"""Wire values and what they become in a column (LAKE-30, LAKE-50 to LAKE-52)."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any, NoReturn

Json = Any
"""A value as `json.loads` gives it."""


class NotJsonObjectError(ValueError):
    """The line is not a JSON object in UTF-8."""


def parse_object(raw: bytes) -> dict[str, Json]:
    """The JSON object of a line, numbers exact. Raises NotJsonObjectError."""
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise NotJsonObjectError(str(error)) from None
    if not isinstance(value, dict):
        raise NotJsonObjectError(f"a JSON {type(value).__name__}, not an object")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(literal: str) -> float:
    value = float(literal)
    if math.isinf(value):
        raise ValueError("a number beyond all range")
    return value


def compact(value: Json) -> str:
    """Compact JSON text, keys in their order, the shortest spelling of floats; no lone surrogates."""
    match value:
        case dict():
            return "{" + ",".join(f"{compact(key)}:{compact(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ",".join(map(compact, value)) + "]"
        case float():
            return re.sub(r"e\+?(-?)0*", r"e\1", repr(value))
        case _:
            return json.dumps(storable(value), ensure_ascii=False)


def storable(value: Json) -> Json:
    """The value with U+FFFD for every lone surrogate, in keys too (LAKE-30)."""
    if isinstance(value, str):
        return "".join("\ufffd" if 0xD800 <= ord(letter) <= 0xDFFF else letter for letter in value)
    if isinstance(value, list):
        return [storable(item) for item in value]
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    return value


def text(value: Json) -> str:
    """A string column: null is empty, a number its decimal text, else compact JSON (LAKE-51)."""
    if value is None:
        return ""
    if isinstance(value, str):
        return str(storable(value))
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f").removesuffix(".0")
    return compact(value)


def source(value: Json) -> str:
    """The column `source`: integer to decimal text, null to empty, else compact JSON (LAKE-50)."""
    if value is None:
        return ""
    return str(storable(value)) if isinstance(value, str) else compact(value)


class WrongTypeError(ValueError):
    """The value is no integer in any accepted form."""


def integer(value: Json) -> int:
    """An integer column: integer, integral number or decimal string (LAKE-51). Raises WrongTypeError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,4000}", value):
        return int(value)
    raise WrongTypeError(f"{type(value).__name__} is no integer")


def json_column(value: Json) -> tuple[str, bool]:
    """A JSON-string column, and whether the original must go to `<field>_raw` (LAKE-52)."""
    if isinstance(value, dict):
        return compact(value), False
    if value is None or value == "":
        return "{}", False
    if not isinstance(value, str):
        return "{}", True  # neither object nor string: the column takes objects only, nothing is lost
    try:
        parse_object(value.encode("utf-8", "surrogatepass"))
    except NotJsonObjectError:
        if value[0] in "{[" and not _parses(value):
            return "{}", True
        return compact({"string": value}), False
    return str(storable(value)), False


def _parses(value: str) -> bool:
    try:
        json.loads(value, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        return False
    return True
