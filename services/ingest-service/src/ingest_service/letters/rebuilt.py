"""Letters -> the batch that gives their rows, each under the origin that it had, or why it is refused again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from ingest_service.land.batch import Batch, Span, build
from ingest_service.land.refusal import Refused
from ingest_service.land.side import SideRows
from ingest_service.letters.letter import Letter, LetterId
from millrace_ports.bus.port import Chunk, Origin, Partition

REPLAYS: Final = Partition("dead_letters", "dead_letters/replays")
"""The positions of the lake count the replayed letters here: of two that replay at once, one looks again."""

_EMPTY: Final = Refused("parse_error", "empty", "the body is empty")
_FOREIGN_ELEMENT: Final = Refused(
    "validation_error",
    "foreign_element",
    "an element of a record that no door has read cannot be landed by itself: publish it as a record of its own",
)


@dataclass(frozen=True, slots=True)
class Again:
    """A letter to be landed: its payload, and its origin in a journal, None where no door has read it."""

    letter: Letter
    payload: bytes
    origin: Origin | None


@dataclass(slots=True)
class Rebuilt:
    """`batch` has the rows of the letters in `taken`; None where there are none. `refused`: why not the others."""

    batch: Batch | None = None
    taken: list[Again] = field(default_factory=list)
    refused: dict[LetterId, Refused] = field(default_factory=dict)


def rebuilt(again: Sequence[Again], position: int, *, ingested_at_s: int, mask: bool) -> Rebuilt:
    """A batch of `REPLAYS` that begins at `position`.

    A letter lands whole or not at all: one of whose elements is refused gives no row.
    """
    found = Rebuilt()
    for one in again:
        if not one.payload.strip():
            found.refused[one.letter.id] = _EMPTY
        elif one.origin is None and one.letter.id.element:
            found.refused[one.letter.id] = _FOREIGN_ELEMENT
    tried = [one for one in again if one.letter.id not in found.refused]
    batch = build(_chunks(tried), ingested_at_s=ingested_at_s, mask=mask)
    for dead in batch.dead_letters:
        place = dead.place
        found.refused.setdefault(LetterId(place.door, place.file, place.line, place.element), dead.refused)
    found.taken = [one for one in again if one.letter.id not in found.refused]
    if len(found.taken) < len(tried):
        batch = build(_chunks(found.taken), ingested_at_s=ingested_at_s, mask=mask)
    if found.taken:
        found.batch = _of_replays(batch, position, position + len(found.taken))
    return found


def _chunks(again: Sequence[Again]) -> list[Chunk]:
    """Lines of journals as their relay would give them; a record of a Kafka partition as that partition would."""
    relayed = [one for one in again if one.origin is not None]
    chunks = (
        [
            Chunk(
                REPLAYS,
                0,
                len(relayed),
                [one.payload for one in relayed],
                range(1, len(relayed) + 1),
                [one.letter.landed_at_ms for one in relayed],
                [one.origin for one in relayed],
            )
        ]
        if relayed
        else []
    )
    foreign: dict[Partition, list[Again]] = {}
    for one in again:
        if one.origin is None:
            foreign.setdefault(Partition(one.letter.id.file, one.letter.id.door), []).append(one)
    for partition, records in foreign.items():
        numbers = [one.letter.id.line for one in records]
        times = [one.letter.landed_at_ms for one in records]
        values = [one.payload for one in records]
        chunks.append(Chunk(partition, min(numbers) - 1, max(numbers), values, numbers, times))
    return chunks


def _of_replays(batch: Batch, start: int, end: int) -> Batch:
    """The batch as records of `REPLAYS`: the positions of where the letters came from stay as they are."""
    batch.spans = [Span(REPLAYS, start, end, end - start)]
    batch.marks = {}
    rows = len(batch.other)
    batch.other = SideRows(
        batch.other.table,
        [REPLAYS] if rows else [],
        np.zeros(rows, np.int64),
        np.full(rows, end, np.int64),
        np.ones(rows, np.bool_),
    )
    return batch
