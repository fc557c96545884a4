"""Questions in SQL and their answers, as `Client.sql` has them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from millrace.query.v1 import sql_pb2

ARROW, JSON, CSV = sql_pb2.SQL_FORMAT_ARROW, sql_pb2.SQL_FORMAT_JSON, sql_pb2.SQL_FORMAT_CSV

_DECODER_OF_EXACT = msgspec.json.Decoder(float_hook=Decimal)


@dataclass(frozen=True, slots=True)
class SqlResult:
    """Rows in the order of the statement. `types` are SQL's; times are ISO 8601 text, decimals `Decimal`, bytes
    base64 text. `truncated`: the limit has cut rows off. `warnings` name data files whose rows are missing."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: list[list[Any]]
    truncated: bool
    elapsed_ms: int
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, body: bytes) -> "SqlResult":
        """The result that the service wrote as JSON."""
        answer: dict[str, Any] = _DECODER_OF_EXACT.decode(body)
        types = tuple(column["type"] for column in answer["columns"])
        rows = answer["rows"]
        for position, kind in enumerate(types):
            if convert := _CONVERTERS.get(kind):
                for row in rows:
                    row[position] = None if row[position] is None else convert(row[position])
        return cls(
            tuple(column["name"] for column in answer["columns"]),
            types,
            rows,
            answer["truncated"],
            answer["elapsed_ms"],
            tuple(answer["warnings"]),
        )


_CONVERTERS: Mapping[str, Callable[[Any], Any]] = {"DOUBLE": float, "FLOAT": float}


@dataclass(frozen=True, slots=True)
class SqlText:
    """An answer as the text of a file."""

    body: bytes
    truncated: bool
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, body: bytes, trailers: Iterable[tuple[str, str | bytes]]) -> "SqlText":
        """The body of a call and what its trailers say of it."""
        pairs = [(name, value) for name, value in trailers if isinstance(value, str)]
        return cls(
            body,
            ("x-truncated", "true") in pairs,
            tuple(value for name, value in pairs if name == "x-warnings"),
        )


def sql_request(
    text: str, limit: int | None, unmask: bool, form: sql_pb2.SqlFormat.ValueType
) -> sql_pb2.SqlRequest:
    """The request for this statement."""
    return sql_pb2.SqlRequest(sql=text, limit=limit or 0, unmask=unmask, format=form)
