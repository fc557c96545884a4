"""An answer in SQL's types as JSON, CSV or Arrow.

In JSON numbers are exact (also those beyond 64 bits), times ISO 8601, in UTC with `Z`; bytes base64; what JSON has no
value for is text. CSV has the same values, nested ones as JSON text; NULL is an empty field without quotes.
"""

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.csv as pacsv

from query_service.formats import Format
from query_service.sql.engine import SqlAnswer

_JSON = msgspec.json.Encoder(enc_hook=str, decimal_format="number")
_INTERVAL = pa.month_day_nano_interval()
# How DuckDB writes a time without end down, as a number of days or of parts of a second.
_ENDLESS = {
    sign * (2**bits - 1): text for bits in (31, 63) for sign, text in ((1, "infinity"), (-1, "-infinity"))
}


def as_arrow(answer: SqlAnswer) -> bytes:
    """The Arrow IPC stream."""
    return answer.stream


def as_json(answer: SqlAnswer) -> bytes:
    """`{"columns": [{"name", "type"}], "rows": [[…]], "truncated", "elapsed_ms", "warnings"}`."""
    table = _table(answer)
    columns = [_values(column) for column in table.columns]
    return _JSON.encode(
        {
            "columns": [
                {"name": name, "type": kind}
                for name, kind in zip(table.schema.names, answer.types, strict=True)
            ],
            "rows": list(zip(*columns, strict=True)),
            "truncated": answer.truncated,
            "elapsed_ms": answer.elapsed_ms,
            "warnings": answer.warnings,
        }
    )


def as_csv(answer: SqlAnswer) -> bytes:
    """CSV in UTF-8 with a header line."""
    table = _table(answer)
    columns = [column if _is_plain(column.type) else _texts(column) for column in table.columns]
    sink = BytesIO()
    schema = pa.schema(
        [pa.field(name, column.type) for name, column in zip(table.schema.names, columns, strict=True)]
    )
    with pacsv.CSVWriter(sink, schema) as writer:
        writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    return sink.getvalue()


RENDERERS: Mapping[Format, Callable[[SqlAnswer], bytes]] = {
    Format.JSON: as_json,
    Format.CSV: as_csv,
    Format.ARROW: as_arrow,
}


def _table(answer: SqlAnswer) -> pa.Table:
    with pa.ipc.open_stream(answer.stream) as reader:
        return reader.read_all()


def _is_plain(kind: pa.DataType) -> bool:
    """Whether Arrow writes these values as they are wanted in CSV."""
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or kind == pa.string()
    )


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    texts = [_text(value) for value in _values(column)]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    text = _JSON.encode(value).decode()
    return str(msgspec.json.decode(text)) if text.startswith('"') else text


def _values(column: pa.ChunkedArray) -> list[Any]:
    return [value for chunk in column.chunks for value in _of_array(chunk)]


def _of_array(array: pa.Array) -> list[Any]:
    """The values as JSON has them, whatever is nested in them."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _of_array(array.storage)
    if pa.types.is_map(kind):
        keys, items = _of_array(array.keys), _of_array(array.items)
        return _of_lists(array, [list(pair) for pair in zip(keys, items, strict=True)], array.offsets)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _of_lists(array, _of_array(array.values), array.offsets)
    if pa.types.is_fixed_size_list(kind):
        parts, size = _of_array(array.flatten()), kind.list_size
        starts = iter(range(0, len(parts), size))  # flattening leaves NULL out
        return [
            parts[(at := next(starts)) : at + size] if there else None
            for there in array.is_valid().to_pylist()
        ]
    if pa.types.is_struct(kind):
        names = [kind.field(at).name for at in range(kind.num_fields)]
        columns = [_of_array(array.field(at)) for at in range(kind.num_fields)]
        rows = zip(*columns, strict=True) if columns else iter([()] * len(array))
        return [
            dict(zip(names, row, strict=True)) if there else None
            for row, there in zip(rows, array.is_valid().to_pylist(), strict=True)
        ]
    return _of_flat(array)


def _of_lists(array: pa.Array, parts: list[Any], offsets: pa.Array) -> list[Any]:
    bounds = offsets.to_pylist()
    return [
        parts[bounds[at] : bounds[at + 1]] if there else None
        for at, there in enumerate(array.is_valid().to_pylist())
    ]


def _of_flat(array: pa.Array) -> list[Any]:
    if array.type == _INTERVAL:
        return [None if value is None else _interval(*value) for value in array.to_pylist()]
    try:
        values: list[Any] = array.to_pylist()
    except (ValueError, OverflowError):  # nanoseconds, years beyond 9999, infinity
        numbers = array.cast(pa.int64() if array.type.bit_width == 64 else pa.int32()).to_pylist()
        texts = array.cast(pa.string()).to_pylist()
        values = [_ENDLESS.get(number, text) for number, text in zip(numbers, texts, strict=True)]
    return values


def _interval(months: int, days: int, nanoseconds: int) -> str:
    """ISO 8601: `P1M2DT3.5S`."""
    seconds, rest = divmod(abs(nanoseconds), 1_000_000_000)
    sign = "-" if nanoseconds < 0 else ""
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"P{months}M{days}DT{sign}{seconds}{fraction}S"
