"""Journal lines -> records of the bus. Pure.

The ordinary line (notify_type 1010 with a msg_id) is told by one typed decode of just these two values; its
bytes go out as they are. Every other line is parsed whole and told apart as landing does it.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

import msgspec
import msgspec.structs

from ingest_service.jsontext import NotAnObject, parse_object
from ingest_service.land.kinds import kinds_of
from ingest_service.relay.keys import LONGEST_KEY, key_of, origin_key
from ingest_service.relay.split import elements_of
from millrace_ports.bus.port import TRACEPARENT, Chunk, Origin, Partition, Record

_NO_HEADERS: Final[Mapping[str, str]] = {}

# What a typed decode raises for a line that is not ordinary: malformed or of another shape, not UTF-8, too deep.
_NOT_ORDINARY: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Id(msgspec.Struct, gc=False):
    msg_id: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_KEY)]


class _Message(msgspec.Struct, gc=False):
    notify_type: Literal[1010]
    data: _Id


_decode: Final = msgspec.json.Decoder(_Message).decode


@dataclasses.dataclass(slots=True)
class Made:
    """Records in the order of their lines, and what became of the lines: `blank` ones gave no record,
    `elements` records are parts of split lines."""

    records: list[Record]
    blank: int = 0
    elements: int = 0


def records_of(chunks: Sequence[Chunk], epochs: Mapping[Partition, int]) -> Made:
    """The records of these lines; `epochs` gives the epoch of each chunk's partition.

    Every record of a line carries the line's trace context, if it has one.
    """
    made = Made([])
    for chunk in chunks:
        _take(chunk, epochs[chunk.partition], made)
    return made


def _take(chunk: Chunk, epoch: int, made: Made) -> None:
    door, day = chunk.partition.name.split("/")
    if epoch:
        day = f"{day}#{epoch}"
    first = len(made.records)
    append = made.records.append
    for line, value, received_at_ms in zip(chunk.offsets, chunk.values, chunk.received_at_ms, strict=True):
        origin = Origin(door, day, line, 0, received_at_ms)
        try:
            key = _decode(value).data.msg_id.encode()
        except _NOT_ORDINARY:
            _take_odd(value, origin, made)
        else:
            append(Record(value, key, _NO_HEADERS, origin))
    if chunk.traceparents:
        _carry_on(chunk.traceparents, made.records, first)


def _carry_on(traceparents: Mapping[int, str], records: list[Record], first: int) -> None:
    """Give the records of these lines, which are in order from index `first` on, the trace contexts of the lines."""
    for line, traceparent in traceparents.items():
        place = bisect_left(records, line, lo=first, key=_line_of)
        while place < len(records) and _line_of(records[place]) == line:
            records[place] = msgspec.structs.replace(records[place], headers={TRACEPARENT: traceparent})
            place += 1


def _line_of(record: Record) -> int:
    return record.origin.line if record.origin is not None else 0


def _take_odd(value: bytes, origin: Origin, made: Made) -> None:
    """Any line but an ordinary message."""
    if not value.strip():
        made.blank += 1
        return
    try:
        payload = parse_object(value)
    except NotAnObject:
        made.records.append(Record(value, origin_key(origin), _NO_HEADERS, origin))
        return
    kinds = kinds_of(payload)
    if len(kinds) == 1:
        made.records.append(Record(value, key_of(kinds[0], origin), _NO_HEADERS, origin))
        return
    parts = elements_of(payload, payload["data"], len(value))
    if parts is None:
        made.records.append(Record(value, origin_key(origin), _NO_HEADERS, origin))
        return
    for place, (kind, part) in enumerate(zip(kinds, parts, strict=True)):
        own = msgspec.structs.replace(origin, element=place)
        made.records.append(Record(part, key_of(kind, own), _NO_HEADERS, own))
    made.elements += len(parts)
