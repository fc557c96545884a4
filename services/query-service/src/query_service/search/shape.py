"""From DuckDB's batches to what the API shows: fixed types, personal data masked, JSON, CSV, Arrow.

Times are ISO 8601 in UTC in JSON and CSV (`2026-03-05T00:00:00Z`; ingestion_time with microseconds),
Unix seconds in protobuf, `timestamp[us, UTC]` in Arrow.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import Any, TypeVar, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from millrace.query.v1 import dead_letters_pb2, query_pb2
from millrace_schemas.masking import mask_custom_info, mask_extra_fields, mask_json, mask_mobile_value
from query_service.search.columns import COLUMNS, CONTACT_COLUMNS

_HIDING: dict[str, Callable[[str], str]] = {
    "extra_fields": mask_extra_fields,
    "mobile": mask_mobile_value,
    "customInfo": mask_custom_info,
}
_FIRST_VERSION = frozenset(COLUMNS) | frozenset(CONTACT_COLUMNS)
_ISO_UNITS = {"create_time": "s", "ingestion_time": "us"}
_CAPITAL = re.compile("[A-Z]")
M = TypeVar("M", query_pb2.Message, query_pb2.Contact, dead_letters_pb2.DeadLetter)
MAX_CHUNK_BYTES = 1 << 20


def shaped(batch: pa.RecordBatch, schema: pa.Schema, *, unmask: bool) -> pa.RecordBatch:
    """The batch with exactly this schema; what personal data it has is masked unless `unmask` (LAKE-56)."""
    batch = batch.cast(schema)
    if unmask:
        return batch
    for at, field in enumerate(schema):
        hide = _hiding(field)
        if hide is None or batch.column(at).null_count == batch.num_rows:
            continue
        texts = [None if text is None else hide(text) for text in batch.column(at).to_pylist()]
        batch = batch.set_column(at, field, pa.array(texts, pa.string()))
    return batch


def _hiding(field: pa.Field) -> Callable[[str], str] | None:
    """What hides personal data in this column; a column of a later version may hold any key that extra_fields had."""
    if field.name in _HIDING:
        return _HIDING[field.name]
    if field.name in _FIRST_VERSION or field.type != pa.string():
        return None
    return mask_json


def json_rows(batches: Iterable[pa.RecordBatch]) -> list[dict[str, Any]]:
    """The rows as JSON objects, times as ISO 8601 text."""
    return [row for batch in batches for row in _with_iso_times(batch).to_pylist()]


def proto_rows(batches: Iterable[pa.RecordBatch]) -> list[query_pb2.Message]:
    """The rows as protobuf messages; NULL is an unset field."""
    return _proto_rows(batches, query_pb2.Message)


def proto_contacts(batches: Iterable[pa.RecordBatch]) -> list[query_pb2.Contact]:
    """The contacts as protobuf messages; NULL is an unset field."""
    return _proto_rows(batches, query_pb2.Contact)


def proto_letters(batches: Iterable[pa.RecordBatch]) -> list[dead_letters_pb2.DeadLetter]:
    """Dead letters as protobuf messages; NULL is an unset field."""
    return _proto_rows(batches, dead_letters_pb2.DeadLetter)


def field_name(column: str) -> str:
    """The protobuf field of a column: `nickName` is `nick_name`."""
    return _CAPITAL.sub(lambda capital: "_" + capital[0].lower(), column)


def _proto_rows(batches: Iterable[pa.RecordBatch], kind: Callable[..., M]) -> list[M]:
    rows: list[M] = []
    for batch in map(_with_unix_times, batches):
        names = [field_name(name) for name in batch.schema.names]
        # Column by column: a dict per row in between would cost as much as the message itself.
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            given = {name: value for name, value in zip(names, values, strict=True) if value is not None}
            rows.append(kind(**given))
    return rows


def csv_chunks(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """CSV in UTF-8 with a header line; text is quoted, NULL is an empty field without quotes."""
    sink = BytesIO()
    text_schema = _with_iso_times(pa.RecordBatch.from_pylist([], schema=schema)).schema
    with pacsv.CSVWriter(sink, text_schema) as writer:
        yield from _drained(sink)
        for batch in batches:
            writer.write_batch(_with_iso_times(batch))
            yield from _drained(sink)


def arrow_chunks(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """One Arrow IPC stream, cut into chunks of at most `MAX_CHUNK_BYTES`."""
    sink = BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield from _drained(sink)
    yield from _drained(sink)


def _drained(sink: BytesIO) -> Iterator[bytes]:
    written = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    for start in range(0, len(written), MAX_CHUNK_BYTES):
        yield written[start : start + MAX_CHUNK_BYTES]


def _with_iso_times(batch: pa.RecordBatch) -> pa.RecordBatch:
    def iso(name: str, column: pa.Array) -> pa.Array:
        whole = column.cast(pa.timestamp(_ISO_UNITS[name], tz="UTC"), safe=False)
        return pc.strftime(whole, format="%Y-%m-%dT%H:%M:%SZ")

    return _replaced(batch, iso, pa.string())


def _with_unix_times(batch: pa.RecordBatch) -> pa.RecordBatch:
    def seconds(_: str, column: pa.Array) -> pa.Array:
        return column.cast(pa.timestamp("s", tz="UTC"), safe=False).cast(pa.int64())

    return _replaced(batch, seconds, pa.int64())


def _replaced(batch: pa.RecordBatch, change: Any, new_type: pa.DataType) -> pa.RecordBatch:
    for at, name in enumerate(batch.schema.names):
        if name in _ISO_UNITS and pa.types.is_timestamp(batch.schema.field(at).type):
            changed = change(name, batch.column(at))
            batch = batch.set_column(at, pa.field(name, new_type), changed)
    return cast("pa.RecordBatch", batch)
