"""Message payloads -> rows of the messages table, in columns.

The ordinary payload (notify_type 1010, known keys, ordinary types, values in range) is proven to be so by
one typed decode per line, and its values are stored as they are. Any other payload goes the exact way,
value by value; both ways give equal rows for an ordinary payload, which a property test shows.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Meta

from ingest_service.land import refusal
from ingest_service.land.kinds import Message
from ingest_service.land.places import Numbers, Sources
from ingest_service.land.values import (
    INT32_MAX,
    WrongTypeError,
    compact,
    integer,
    source_text,
    text,
    without_surrogates,
)
from millrace_schemas import datasets

CREATE_TIME_END: Final = 2147483647
SCHEMA: Final = datasets.load("messages").arrow_schema()
SCHEMA_VERSION: Final = datasets.load("messages").schema_version

_Required = Annotated[str, Meta(min_length=1)]
_EPOCH = datetime.date(1970, 1, 1)


class Fields(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The 11 keys of an ordinary message's `data`, as they are stored."""

    from_username: _Required
    to_username: _Required
    msg_id: _Required
    create_time: Annotated[int, Meta(gt=0, lt=CREATE_TIME_END)]
    is_chatroom_msg: Annotated[int, Meta(ge=0, le=1)]
    chatroom: str = ""
    chatroom_sender: str = ""
    msg_type: Annotated[int, Meta(ge=0, le=INT32_MAX)] = 0
    content: str = ""
    desc: str = ""
    source: str = ""


class Row(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An ordinary payload; also what the exact way makes of any other message."""

    guid: _Required
    notify_type: Literal[1010]
    data: Fields


decode_ordinary = msgspec.json.Decoder(Row).decode
"""The fast way: the row of an ordinary line; raises for any other line."""

_STRINGS: Final = ("chatroom", "chatroom_sender", "content", "desc")
_REQUIRED: Final = ("msg_id", "from_username", "to_username", "create_time", "is_chatroom_msg")
_KNOWN: Final = frozenset(Fields.__struct_fields__)


def exact_row(message: Message) -> tuple[Row, str | None]:
    """The exact way: row and extra_fields text of any message (LAKE-42, LAKE-50 to LAKE-53).

    Raises:
        Refused: missing fields first (all of them named), then wrong types, then ranges.
    """
    data = message.data
    envelope = {"guid": message.guid, "notify_type": message.notify_type}
    absent = [name for name in _REQUIRED if data.get(name) in (None, "")]
    absent += [name for name, value in envelope.items() if value in (None, "")]
    if absent:
        raise refusal.missing(absent)
    numbers = {
        name: _integer(name, value)
        for name, value in (
            ("create_time", data["create_time"]),
            ("is_chatroom_msg", data["is_chatroom_msg"]),
            ("msg_type", 0 if data.get("msg_type") is None else data["msg_type"]),
            ("notify_type", message.notify_type),
        )
    }
    if not 0 < numbers["create_time"] < CREATE_TIME_END:
        raise refusal.out_of_range("create_time", "Unix seconds between 1 and 2147483646")
    if numbers["is_chatroom_msg"] not in (0, 1):
        raise refusal.out_of_range("is_chatroom_msg", "0 or 1")
    for name in ("msg_type", "notify_type"):
        if not 0 <= numbers[name] <= INT32_MAX:
            raise refusal.out_of_range(name, f"between 0 and {INT32_MAX}")
    fields = Fields(
        from_username=_stored(data["from_username"]),
        to_username=_stored(data["to_username"]),
        msg_id=_stored(data["msg_id"]),
        create_time=numbers["create_time"],
        is_chatroom_msg=numbers["is_chatroom_msg"],
        msg_type=numbers["msg_type"],
        source=without_surrogates(source_text(data.get("source"))),
        **{name: _stored(data.get(name)) for name in _STRINGS},
    )
    unknown = {key: value for key, value in data.items() if key not in _KNOWN}
    unknown |= {key: value for key, value in message.extra.items() if key not in unknown}
    # The struct's declared 1010 is what the fast way proves; the exact way carries any kind that is a message.
    row = Row(_stored(message.guid), numbers["notify_type"], fields)  # type: ignore[arg-type]
    return row, compact(without_surrogates(unknown)) if unknown else None


def _stored(value: Any) -> str:
    return str(without_surrogates(text(value)))


def _integer(name: str, value: Any) -> int:
    try:
        return integer(value)
    except WrongTypeError:
        raise refusal.wrong_type(name, "an integer") from None


def day_numbers(rows: Sequence[Row]) -> npt.NDArray[np.int32]:
    """UTC day of each row's create_time, in days since 1970-01-01 (LAKE-62)."""
    seconds = np.fromiter((row.data.create_time for row in rows), np.int64, len(rows))
    return (seconds // 86_400).astype(np.int32)


def table(
    rows: Sequence[Row],
    days: npt.NDArray[np.int32],
    extra: dict[int, str],
    elements: dict[int, int],
    sources: Sequence[Sources],
    ingested_at_s: int,
) -> pa.Table:
    """The rows as an Arrow table in the stored schema.

    Args:
        rows: the rows, in the order of their records.
        days: day number of each row.
        extra: row number -> extra_fields text, only where there is one.
        elements: row number -> element of a 1011 batch within its record, only where it is not 0.
        sources: where the rows come from, in order.
        ingested_at_s: Unix seconds.
    """
    count = len(rows)
    data = [row.data for row in rows]
    elements_column = _joined([source.elements for source in sources]).astype(np.int32)
    for row, element in elements.items():
        elements_column[row] += element
    extra_column: pa.Array = pa.nulls(count, pa.string())
    if extra:
        extra_column = pa.array([extra.get(row) for row in range(count)], pa.string())
    year, month, day = partition_columns(days)
    second = pa.scalar(ingested_at_s * 1_000_000, pa.timestamp("us", "UTC"))
    create_time = np.fromiter((fields.create_time for fields in data), np.int64, count) * 1_000_000
    columns = {
        "msg_id": pa.array([fields.msg_id for fields in data], pa.string()),
        "from_username": pa.array([fields.from_username for fields in data], pa.string()),
        "to_username": pa.array([fields.to_username for fields in data], pa.string()),
        "chatroom": pa.array([fields.chatroom for fields in data], pa.string()),
        "chatroom_sender": pa.array([fields.chatroom_sender for fields in data], pa.string()),
        "msg_type": pa.array([fields.msg_type for fields in data], pa.int32()),
        "create_time": pa.array(create_time).cast(pa.timestamp("us", "UTC")),
        "is_chatroom_msg": pa.array([fields.is_chatroom_msg for fields in data], pa.int8()),
        "content": pa.array([fields.content for fields in data], pa.string()),
        "desc": pa.array([fields.desc for fields in data], pa.string()),
        "source": pa.array([fields.source for fields in data], pa.string()),
        "guid": pa.array([row.guid for row in rows], pa.string()),
        "notify_type": pa.array([row.notify_type for row in rows], pa.int32()),
        "ingestion_time": pa.repeat(second, count),
        "extra_fields": extra_column,
        "schema_version": pa.repeat(pa.scalar(SCHEMA_VERSION, pa.int32()), count),
        "src_door": pa.chunked_array([source.doors for source in sources], pa.string()),
        "src_file": pa.chunked_array([source.files for source in sources], pa.string()),
        "src_line": pa.array(_joined([source.lines for source in sources])),
        "src_element": pa.array(elements_column),
        "year": year,
        "month": month,
        "day": day,
    }
    return pa.table(columns, schema=SCHEMA)


def partition_columns(days: npt.NDArray[np.int32]) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Directory keys of day numbers: year of four digits, month and day of two (LAKE-1)."""
    distinct, places = np.unique(days, return_inverse=True)
    dates = [_EPOCH + datetime.timedelta(days=int(number)) for number in distinct]
    indices = pa.array(places.astype(np.int64))
    year, month, day = (
        pa.array([format(date, form) for date in dates], pa.string()).take(indices)
        for form in ("%Y", "%m", "%d")
    )
    return year, month, day


def _joined(parts: Sequence[Numbers]) -> Numbers:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
