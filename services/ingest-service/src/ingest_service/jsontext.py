"""Exact JSON: what counts as a JSON object, and how a body becomes one line (LAKE-12, LAKE-30)."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import msgspec

_decode = msgspec.json.Decoder().decode


class NotAnObject(ValueError):
    """The text is no JSON object in UTF-8; `error_type`, `reason` and `message` go to the reject journal."""

    def __init__(self, reason: str, message: str, error_type: str = "parse_error") -> None:
        super().__init__(message)
        self.error_type = error_type
        self.reason = reason
        self.message = message


def parse_object(text: bytes) -> dict[str, Any]:
    """The object, with integers of any size exact and lone surrogates kept.

    Numbers with a fraction or exponent are IEEE doubles.

    Raises:
        NotAnObject: bad JSON, not UTF-8, another JSON type, NaN, nesting too deep (some 1,000 levels), a
            number that no double holds (1e999) or of more than 4,300 digits. The message has no content.
    """
    if not text.strip():
        raise NotAnObject("empty", "the body is empty")
    try:
        value = _decode(text)
    except UnicodeDecodeError as error:
        raise NotAnObject("not_utf8", f"not UTF-8: {error.reason}") from None
    except RecursionError:
        raise NotAnObject("too_deep", "nested too deeply") from None
    except msgspec.ValidationError:
        raise NotAnObject("number_out_of_range", "a number is out of range") from None
    except msgspec.DecodeError as error:
        value = _with_surrogates(text, error)
    if not isinstance(value, dict):
        raise NotAnObject("not_an_object", f"a JSON {_type_name(value)}, not an object")
    return value


def one_line(body: bytes) -> bytes:
    """The body's own bytes on one line: line breaks can only stand between tokens, and become spaces."""
    return body.replace(b"\n", b" ").replace(b"\r", b" ")


def _with_surrogates(text: bytes, error: msgspec.DecodeError) -> Any:
    """The standard library takes lone surrogates, which msgspec refuses; all else it must refuse as well."""
    if b"\\u" not in text:
        raise NotAnObject("malformed", str(error)) from None
    try:
        return json.loads(text.decode(), parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise NotAnObject("too_deep", "nested too deeply") from None
    except NotAnObject:
        raise
    except UnicodeDecodeError as problem:
        raise NotAnObject("not_utf8", f"not UTF-8: {problem.reason}") from None
    except json.JSONDecodeError as problem:
        raise NotAnObject("malformed", str(problem)) from None
    except ValueError:  # the conversion of a number
        raise NotAnObject("number_out_of_range", "a number is out of range") from None


def _refuse(name: str) -> NoReturn:
    raise NotAnObject("malformed", f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("out of range")
    return value


def _type_name(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "array" if isinstance(value, list) else "string"
