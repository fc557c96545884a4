"""Arrow types as text that reads back as the same type (LAKE-80)."""

from __future__ import annotations

import base64
import re
from typing import Any, Final

import pyarrow as pa

_TIMESTAMP: Final = re.compile(r"timestamp\[(s|ms|us|ns), tz=(.+)\]")
_DECIMAL: Final = re.compile(r"decimal(32|64|128|256)\((\d+), (-?\d+)\)")
_FIXED: Final = re.compile(r"fixed_size_binary\[(\d+)\]")
_DECIMALS: Final = {"32": pa.decimal32, "64": pa.decimal64, "128": pa.decimal128, "256": pa.decimal256}
_ALIASES: Final = {"halffloat": "float16", "float": "float32", "double": "float64"}
_IPC: Final = "ipc"


def type_text(kind: pa.DataType) -> str:
    """The type as Arrow writes it: `int8`, `timestamp[us, tz=UTC]`."""
    return str(kind)


def written(field: pa.Field) -> dict[str, Any]:
    """A field as the registry stores it. One whose type cannot be read back from its text, such as a struct, has the
    exact form beside it."""
    stored: dict[str, Any] = {"name": field.name, "type": type_text(field.type), "nullable": field.nullable}
    if _parsed(stored["type"]) != field.type:
        stored[_IPC] = base64.b64encode(pa.schema([field]).serialize()).decode()
    return stored


def read(stored: dict[str, Any]) -> pa.Field:
    """The field that was written. Raises ValueError or KeyError for what no `written` gives."""
    if _IPC in stored:
        whole: pa.Field = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(stored[_IPC]))).field(0)
        return whole
    kind = _parsed(stored["type"])
    if kind is None:
        raise ValueError(f"unknown type {stored['type']!r}")
    return pa.field(stored["name"], kind, stored["nullable"])


def _parsed(text: str) -> pa.DataType | None:
    if match := _TIMESTAMP.fullmatch(text):
        return pa.timestamp(match[1], match[2])
    if match := _DECIMAL.fullmatch(text):
        return _DECIMALS[match[1]](int(match[2]), int(match[3]))
    if match := _FIXED.fullmatch(text):
        return pa.binary(int(match[1]))
    try:
        return pa.type_for_alias(_ALIASES.get(text, text))
    except ValueError:
        return None
