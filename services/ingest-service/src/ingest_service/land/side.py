"""Rows of `other` and `dead_letters`: they have no business key, each is one of its origin. Pure."""

from __future__ import annotations

import base64
import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ingest_service.land import messages, refusal
from ingest_service.land.kinds import Other
from ingest_service.land.places import Place
from ingest_service.land.refusal import Refused
from ingest_service.land.values import INT32_MAX, WrongTypeError, compact, integer, text, without_surrogates
from millrace_ports.bus.port import Partition
from millrace_schemas import datasets

Mask = npt.NDArray[np.bool_]

OTHER_SCHEMA: Final = datasets.load("other").arrow_schema()
DEAD_LETTERS_SCHEMA: Final = datasets.load("dead_letters").arrow_schema()


@dataclasses.dataclass(frozen=True, slots=True)
class SideRows:
    """Rows with the record that each came by: partition and number, and whether a relay published it.

    `which` is the place of a row's partition in `partitions`.
    """

    table: pa.Table
    partitions: Sequence[Partition]
    which: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]
    relayed: Mask

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def of(self, partition: Partition) -> Mask:
        """Which rows came by that partition."""
        if partition not in self.partitions:
            return np.zeros(len(self), np.bool_)
        mask: Mask = self.which == self.partitions.index(partition)
        return mask

    def take(self, rows: Mask) -> SideRows:
        """Those rows."""
        if rows.all():
            return self
        return SideRows(
            self.table.filter(pa.array(rows)),
            self.partitions,
            self.which[rows],
            self.numbers[rows],
            self.relayed[rows],
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Notification:
    """A payload of any other kind, and where it comes from."""

    place: Place
    columns: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record or element that could not become a row: its bytes and why. `element` as in `src_element`."""

    place: Place
    element: int
    body: bytes
    refused: Refused

    @property
    def replay(self) -> str:
        """The command that lands it once its cause is mended."""
        place = self.place
        origin = f"{place.door}/{place.file}/{place.line}/{self.element}"
        return f"millrace dead-letters replay {shlex.quote(origin)}"  # a door may be named by a stranger


def notification(kind: Other, place: Place, value: bytes) -> Notification:
    """A row of other, the payload whole (LAKE-22). Raises Refused when its envelope fields cannot be stored."""
    absent = [n for n, v in (("guid", kind.guid), ("notify_type", kind.notify_type)) if v in (None, "")]
    if absent:
        raise refusal.missing(absent)
    try:
        number = integer(kind.notify_type)
    except WrongTypeError:
        raise refusal.wrong_type("notify_type", "an integer") from None
    if not 0 <= number <= INT32_MAX:
        raise refusal.out_of_range("notify_type", f"between 0 and {INT32_MAX}")
    columns = {
        "guid": without_surrogates(text(kind.guid)),
        "notify_type": number,
        "payload": value.decode(),
        "received_day": place.day,
    }
    return Notification(place, columns)


def other_rows(found: Sequence[Notification], ingested_at_s: int) -> SideRows:
    """Notifications in the stored schema."""
    return _side_rows(
        [one.place for one in found],
        [{**one.columns, **_source(one.place, one.place.element)} for one in found],
        OTHER_SCHEMA,
        ingested_at_s,
    )


def dead_letter_rows(letters: Sequence[DeadLetter], ingested_at_s: int) -> SideRows:
    """Dead letters in the stored schema."""
    rows = []
    for letter in letters:
        body, body_base64 = readable(letter.body)
        rows.append(
            {
                "error_type": letter.refused.error_type,
                "reason": letter.refused.reason,
                "error_message": letter.refused.message,
                "fields": compact(letter.refused.fields),
                "body": body,
                "body_base64": body_base64,
                "replay": letter.replay,
                **_source(letter.place, letter.element),
            }
        )
    return _side_rows([letter.place for letter in letters], rows, DEAD_LETTERS_SCHEMA, ingested_at_s)


def readable(body: bytes) -> tuple[str, str | None]:
    """The body as text, or empty text and base64 when it is not UTF-8 (LAKE-13)."""
    try:
        return body.decode(), None
    except UnicodeDecodeError:
        return "", base64.b64encode(body).decode()


def _source(place: Place, element: int) -> dict[str, Any]:
    return {
        "src_door": place.door,
        "src_file": place.file,
        "src_line": place.line,
        "src_element": element,
    }


def _side_rows(
    places: Sequence[Place], rows: list[dict[str, Any]], schema: pa.Schema, ingested_at_s: int
) -> SideRows:
    """Rows with ingestion_time and its directory keys filled in."""
    year, month, day = messages.partition_columns(np.full(1, ingested_at_s // 86_400, np.int32))
    common = {
        "ingestion_time": ingested_at_s * 1_000_000,
        "year": year[0].as_py(),
        "month": month[0].as_py(),
        "day": day[0].as_py(),
    }
    partitions = list(dict.fromkeys(place.partition for place in places))
    which = {partition: number for number, partition in enumerate(partitions)}
    return SideRows(
        pa.Table.from_pylist([row | common for row in rows], schema=schema),
        partitions,
        np.fromiter((which[place.partition] for place in places), np.int64, len(places)),
        np.fromiter((place.number for place in places), np.int64, len(places)),
        np.fromiter((place.relayed for place in places), np.bool_, len(places)),
    )
