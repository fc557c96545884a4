"""Chunks of the bus -> a batch of rows for every table, with LAKE-61's accounting. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from ingest_service.jsontext import NotAnObject, parse_object
from ingest_service.land import contacts, messages, refusal
from ingest_service.land.index.keys import Keys, Mask, keys_of
from ingest_service.land.index.store import Days
from ingest_service.land.kinds import Contact, Kind, Message, Other, Unfit, kinds_of
from ingest_service.land.places import Place, Places, Sources, places_of
from ingest_service.land.positions import mark_app_id
from ingest_service.land.refusal import Refused
from ingest_service.land.side import DeadLetter, Notification, SideRows, notification, other_rows
from ingest_service.land.unwrap import Unwrap, no_objects
from ingest_service.land.values import compact, without_surrogates
from millrace_ports.bus.port import Chunk, Partition
from millrace_schemas.masking import mask_extra_fields

# What a typed decode raises for a line that is not ordinary: malformed or of another shape, not UTF-8, too deep.
_NOT_ORDINARY: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """Records (start, end] of a partition that a batch covers; `counted` of them, each element of a batch singly
    and blank ones not."""

    partition: Partition
    start: int
    end: int
    counted: int = 0


@dataclasses.dataclass(slots=True)
class Counts:
    """LAKE-61: lines = blank + rejected + contacts + other + messages + duplicates.

    A line of notify_type 1011 counts once per element. `messages` is set when the duplicates are known.
    """

    lines: int = 0
    blank: int = 0
    rejected: int = 0
    contacts: int = 0
    other: int = 0
    messages: int = 0
    duplicates: int = 0

    def add_up(self) -> bool:
        """Whether the sum holds."""
        parts = self.blank + self.rejected + self.contacts + self.other + self.messages + self.duplicates
        return self.lines == parts

    def __iadd__(self, more: Counts) -> Counts:
        for field in dataclasses.fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(more, field.name))
        return self


@dataclasses.dataclass(slots=True)
class Batch:
    """Rows of all tables for some spans. `messages` is not deduplicated yet; `keys` and `days` go with it.

    `marks` has the app id of each door's mark in each partition, and the highest origin of the batch there.
    """

    spans: list[Span]
    counts: Counts
    messages: pa.Table
    keys: Keys
    days: Days
    contacts: list[contacts.Event]
    other: SideRows
    dead_letters: list[DeadLetter]
    marks: dict[str, int]
    newest_received_at_ms: int


class _Builder:
    """Collects the rows of one batch; `ordinary` is the fast way, everything else the exact one."""

    def __init__(self, ingested_at_s: int, unwrap: Unwrap, mask: bool) -> None:
        self.ingested_at_s = ingested_at_s
        self.unwrap = unwrap
        self.mask = mask
        self.counts = Counts()
        self.rows: list[messages.Row] = []
        self.taken: list[int] = []
        self.extra: dict[int, str] = {}
        self.elements: dict[int, int] = {}
        self.sources: list[Sources] = []
        self.contacts: list[contacts.Event] = []
        self.other: list[Notification] = []
        self.dead: list[DeadLetter] = []
        self.spans: dict[Partition, Span] = {}
        self.marks: dict[str, int] = {}
        self.tombstones: frozenset[int] = frozenset()
        self.newest_received_at_ms = 0

    def chunk(self, chunk: Chunk) -> None:
        places = places_of(chunk)
        before = self.counts.lines - self.counts.blank
        self.taken = []
        self.tombstones = chunk.tombstones
        decode, row, took = messages.decode_ordinary, self.rows.append, self.taken.append
        for index, value in enumerate(chunk.values):
            try:
                row(decode(value))
            except _NOT_ORDINARY:
                self._odd(places, index, value)
            else:
                took(index)
        self.counts.lines += len(chunk.values)
        self._span(chunk, self.counts.lines - self.counts.blank - before)
        if self.taken:
            self.sources.append(places.sources(np.array(self.taken, np.int64)))
        for door, mark in places.marks().items():
            app = mark_app_id(chunk.partition, door)
            self.marks[app] = max(mark, self.marks.get(app, 0))
        self.newest_received_at_ms = max(self.newest_received_at_ms, places.newest_ms())

    def _span(self, chunk: Chunk, counted: int) -> None:
        """One span per partition: chunks of one partition follow each other."""
        begun = self.spans.get(chunk.partition)
        if begun is None:
            self.spans[chunk.partition] = Span(chunk.partition, chunk.start, chunk.end, counted)
            return
        if begun.end != chunk.start:
            raise ValueError(f"{chunk.partition.name}: chunk from {chunk.start} does not follow {begun.end}")
        self.spans[chunk.partition] = dataclasses.replace(
            begun, end=chunk.end, counted=begun.counted + counted
        )

    def _odd(self, places: Places, index: int, value: bytes) -> None:
        """Any record but an ordinary message: blank, not an object, or to be told apart by LAKE-20."""
        place = places.at(index)
        if place.number in self.tombstones:
            self._refuse(place, place.element, value, refusal.TOMBSTONE)
            return
        if not place.foreign and not value.strip():
            self.counts.blank += 1
            return
        try:
            payload = parse_object(value)
        except NotAnObject as error:
            self._not_json(place, index, value, Refused(error.error_type, error.reason, error.message))
        else:
            self._object(place, index, value, payload)

    def _not_json(self, place: Place, index: int, value: bytes, refused: Refused) -> None:
        """Something else than a payload came by Kafka: an Envelope around one, or nothing that we know."""
        try:
            opened = self.unwrap(place, value)
        except Refused as unknown:
            self._refuse(place, place.element, value, unknown)
            return
        if opened is None:
            self._refuse(place, place.element, value, refused)
            return
        body = opened.body
        if opened.refused is not None:
            self._refuse(place, place.element, body, opened.refused)
            return
        try:
            self.rows.append(messages.decode_ordinary(body))
        except _NOT_ORDINARY:
            pass
        else:
            self.taken.append(index)
            return
        try:
            payload = parse_object(body)
        except NotAnObject as error:
            inner = Refused(error.error_type, error.reason, error.message)
            self._refuse(place, place.element, body, inner)
        else:
            self._object(place, index, body, payload)

    def _object(self, place: Place, index: int, value: bytes, payload: dict[str, Any]) -> None:
        kinds = kinds_of(payload)
        self.counts.lines += len(kinds) - 1
        for kind in kinds:
            try:
                self._take(kind, place, index, value)
            except Refused as refused:
                self._refuse(place, *_part(kind, place, payload, value), refused)
            except RecursionError:
                # Shallow enough for the parser and too deep for us: kept whole.
                too_deep = Refused("validation_error", "too_deep", "nested too deeply")
                self._refuse(place, *_part(kind, place, payload, value), too_deep)

    def _take(self, kind: Kind, place: Place, index: int, value: bytes) -> None:
        match kind:
            case Message():
                row, extra = messages.exact_row(kind)
                number = len(self.rows)
                self.rows.append(row)
                self.taken.append(index)
                if extra is not None:
                    self.extra[number] = mask_extra_fields(extra) if self.mask else extra
                if kind.element:
                    self.elements[number] = kind.element
            case Contact():
                event = contacts.contact_event(kind, place, self.ingested_at_s)
                self.contacts.append(contacts.masked(event) if self.mask else event)
                self.counts.contacts += 1
            case Other():
                self.other.append(notification(kind, place, value))
                self.counts.other += 1
            case Unfit():
                raise refusal.missing(kind.missing)

    def _refuse(self, place: Place, element: int, body: bytes, refused: Refused) -> None:
        self.dead.append(DeadLetter(place, element, body, refused))
        self.counts.rejected += 1

    def batch(self) -> Batch:
        days = messages.day_numbers(self.rows)
        table = messages.table(self.rows, days, self.extra, self.elements, self.sources, self.ingested_at_s)
        ids = table.column("msg_id").combine_chunks()
        return Batch(
            list(self.spans.values()),
            self.counts,
            table,
            keys_of(ids),
            days,
            self.contacts,
            other_rows(self.other, self.ingested_at_s),
            self.dead,
            self.marks,
            self.newest_received_at_ms,
        )


def build(
    chunks: Sequence[Chunk], *, ingested_at_s: int, unwrap: Unwrap = no_objects, mask: bool = False
) -> Batch:
    """The batch of these chunks; every record of them ends in a table or is counted (LAKE-61).

    `mask` hides personal data of messages and contacts before it is stored (LAKE-56).

    Raises StorageUnavailableError (retryable) when `unwrap` cannot read a body that is kept elsewhere.
    """
    builder = _Builder(ingested_at_s, unwrap, mask)
    for chunk in chunks:
        builder.chunk(chunk)
    return builder.batch()


@dataclasses.dataclass(frozen=True, slots=True)
class Fresh:
    """The messages of a batch that are new, and their keys and days."""

    table: pa.Table
    keys: Keys
    days: Days


def keep_first(batch: Batch, stored: Mask) -> Fresh:
    """The messages that are not stored, and of equal ids within the batch the first (LAKE-64)."""
    table = batch.messages
    if not table.num_rows:
        return Fresh(table, batch.keys, batch.days)
    # Exact keys compare by value; a hash may collide, so a batch that holds hashes compares the texts.
    whole = batch.keys.values if batch.keys.exact.all() else table.column("msg_id").to_numpy()
    new = np.zeros(table.num_rows, np.bool_)
    new[np.unique(whole, return_index=True)[1]] = True
    new &= ~stored
    if new.all():
        return Fresh(table, batch.keys, batch.days)
    return Fresh(table.filter(pa.array(new)), batch.keys.take(new), batch.days[new])


def _part(kind: Kind, place: Place, payload: dict[str, Any], value: bytes) -> tuple[int, bytes]:
    """Element and bytes that a refusal concerns: of a 1011 batch the element alone, else the whole record."""
    element = kind.element if isinstance(kind, Message | Unfit) else None
    data = payload.get("data")
    if element is None or not isinstance(data, list):
        return place.element, value
    return place.element + element, compact(without_surrogates(data[element])).encode()
