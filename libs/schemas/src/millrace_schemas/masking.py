"""Hiding personal data (LAKE-54, LAKE-55, LAKE-56): on the way out, and on the way in where that is set.

Pure and idempotent: masking masked text changes nothing. A text in which there is nothing to hide is
returned as it was, byte for byte; otherwise every other value stays exact (integers of any size,
decimals with all their digits).
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

HIDDEN = "***"
_CONTAINER = ("{", "[")

_PHONE = re.compile(r"(\+[0-9]{1,3}[ -]?)?([0-9]{3})[0-9]{4}([0-9]{4})")
_MASKED_PHONE = re.compile(r"(\+[0-9]{1,3}[ -]?)?[0-9]{3}\*{4}[0-9]{4}")
_DECODER = msgspec.json.Decoder(float_hook=Decimal)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def mask_mobile(text: str) -> str:
    """`13905718264` as `139****8264` with an optional `+86` before it; of other texts the characters
    4 to 7, or all when there are fewer than 8 (LAKE-54)."""
    if phone := _PHONE.fullmatch(text):
        return f"{phone[1] or ''}{phone[2]}****{phone[3]}"
    if _MASKED_PHONE.fullmatch(text):
        return text
    if len(text) >= 8:
        return f"{text[:3]}****{text[7:]}"
    return "*" * len(text)


def mask_extra_fields(text: str) -> str:
    """The JSON object text with every `mobile` and every `customInfo.detail` hidden, at any depth.

    A mobile that is not text (a number, or an object such as `{"string": …}`) is hidden as well. Text
    that cannot be read as JSON could hide anything, so none of it is shown.
    """
    if "mobile" not in text and "customInfo" not in text and "\\u" not in text:
        return text  # no such key, not even written with escapes
    return _masked_json(text, _masked)


def mask_mobile_value(text: str) -> str:
    """The value of a column `mobile`: a number, or the JSON text of an object or array of numbers (LAKE-51)."""
    if not text.startswith(_CONTAINER):
        return mask_mobile(text)
    return _masked_json(text, _mobile)


def mask_json(text: str) -> str:
    """JSON text of an object or array as in `mask_extra_fields`; any other text as it is."""
    return mask_extra_fields(text) if text.startswith(_CONTAINER) else text


def _masked_json(text: str, mask: Callable[[Any], Any]) -> str:
    try:
        value = _DECODER.decode(text)
        masked = mask(value)
    except (ValueError, RecursionError):
        return f'"{HIDDEN}"'
    return text if masked == value else _ENCODER.encode(masked).decode()


def mask_custom_info(text: str) -> str:
    """The JSON text of a customInfo with its detail hidden; its detailVisible stays (LAKE-55)."""
    return str(_custom_info(text))


def masked_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Extra fields that are values yet, as `mask_extra_fields` does their text."""
    return {key: _masked_member(key, member) for key, member in values.items()}


def _masked(value: Any) -> Any:
    if isinstance(value, list):
        return [_masked(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _masked_member(key, member) for key, member in value.items()}


def _masked_member(key: str, value: Any) -> Any:
    if key == "mobile":
        return _mobile(value)
    if key == "customInfo":
        return _custom_info(value)
    if key == "customInfo_raw":  # one that could not be read (LAKE-52)
        return HIDDEN if value else value
    return _masked(value)


def _mobile(value: Any) -> Any:
    if isinstance(value, list):
        return [_mobile(item) for item in value]
    if isinstance(value, dict):
        return {key: _mobile(member) for key, member in value.items()}
    if value is None or isinstance(value, bool):
        return value
    return mask_mobile(str(value))


def _custom_info(value: Any) -> Any:
    """customInfo with its detail hidden, be it an object or the JSON text of one (LAKE-52)."""
    if isinstance(value, str):
        try:
            inner = _DECODER.decode(value)
        except (ValueError, RecursionError):
            return HIDDEN if value else value
        masked = _custom_info(inner) if isinstance(inner, dict) else inner
        return value if masked == inner else _ENCODER.encode(masked).decode()
    masked = _masked(value)
    if isinstance(masked, dict) and masked.get("detail"):
        masked["detail"] = HIDDEN
    return masked
