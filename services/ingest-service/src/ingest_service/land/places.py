"""Where the records of a chunk come from: what the src_ columns of their rows say. Pure.

* A line of a journal comes from door, journal file and line.
* A relayed record comes from where it was durable first: its row is the one that its journal line would give.
* A record that no relay published comes from its partition: the door is `<topic id>/<number>`, the file the
  topic, the line the record's number.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ingest_service.land import marks
from ingest_service.land.positions import is_journal
from millrace_ports.bus.port import Chunk, Origin, Partition

_DOOR: Final = re.compile(r"[\x21-\x7b\x7d\x7e]{1,200}", re.ASCII)  # no space, no `|`, which parts an order
_LAST_ELEMENT: Final = 2**30  # elements within the record come on top, and the column has 31 bits
_LAST_MS: Final = 10**15 - 1
_SUFFIX: Final = ".jsonl"

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one record comes from.

    `number` is its place in `partition`; `door`, `file`, `line` and `element` are its origin, `day` the UTC day
    of its journal or, without one, of its timestamp. Elements of a batch in it count on from `element`.
    `relayed`: it was read in a journal and published again; `foreign`: no door has looked at it.
    """

    partition: Partition
    number: int
    door: str
    file: str
    line: int
    element: int
    day: str
    received_at_ms: int
    relayed: bool = False
    foreign: bool = False

    @property
    def order(self) -> str:
        """(day, received_at_ms, door, line) as text that sorts: one total order over all doors and producers."""
        return f"{self.day}|{self.received_at_ms:015d}|{self.door}|{self.line:015d}"


@dataclass(frozen=True, slots=True)
class Sources:
    """The src_ columns of some rows."""

    doors: pa.Array
    files: pa.Array
    lines: Numbers
    elements: Numbers


class Places(Protocol):
    """The places of a chunk's records, by their index in the chunk."""

    def at(self, index: int) -> Place:
        """Where that record comes from."""
        ...

    def sources(self, taken: Numbers) -> Sources:
        """The src_ columns of the records at these indices."""
        ...

    def marks(self) -> dict[str, int]:
        """Highest origin (`marks.packed`) of each door whose records were relayed."""
        ...

    def newest_ms(self) -> int:
        """When the last record was received: by its door, where one has had it. 0 when there is none."""
        ...


def places_of(chunk: Chunk) -> Places:
    """The places of a chunk's records."""
    if is_journal(chunk.partition):
        return _JournalPlaces(chunk)
    origins = None if chunk.origins is None else _usable(chunk.origins)
    if origins is None:
        return _ForeignPlaces(chunk)
    relayed = [origin for origin in origins if origin is not None]
    if len(relayed) == len(origins):
        return _RelayedPlaces(chunk, relayed)
    return _MixedPlaces(chunk, origins)


class _JournalPlaces:
    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk
        self._door, _, self._day = chunk.partition.name.rpartition("/")

    def at(self, index: int) -> Place:
        chunk = self._chunk
        line = chunk.offsets[index]
        return Place(
            chunk.partition, line, self._door, f"{self._day}{_SUFFIX}", line, 0,
            self._day, chunk.received_at_ms[index],
        )  # fmt: skip

    def sources(self, taken: Numbers) -> Sources:
        return _one_source(self._door, f"{self._day}{_SUFFIX}", _offsets(self._chunk)[taken])

    def marks(self) -> dict[str, int]:
        return {}

    def newest_ms(self) -> int:
        return max(self._chunk.received_at_ms[-1:], default=0)


class _ForeignPlaces:
    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk

    def at(self, index: int) -> Place:
        chunk = self._chunk
        number, received_at_ms = chunk.offsets[index], min(max(chunk.received_at_ms[index], 0), _LAST_MS)
        day = datetime.datetime.fromtimestamp(min(received_at_ms // 1000, _LAST_SECOND), datetime.UTC)
        return Place(
            chunk.partition, number, chunk.partition.name, chunk.partition.topic, number, 0,
            f"{day:%Y-%m-%d}", received_at_ms, foreign=True,
        )  # fmt: skip

    def sources(self, taken: Numbers) -> Sources:
        partition = self._chunk.partition
        return _one_source(partition.name, partition.topic, _offsets(self._chunk)[taken])

    def marks(self) -> dict[str, int]:
        return {}

    def newest_ms(self) -> int:
        return max(self._chunk.received_at_ms[-1:], default=0)


_LAST_SECOND: Final = int(datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC).timestamp())


class _RelayedPlaces:
    def __init__(self, chunk: Chunk, origins: Sequence[Origin]) -> None:
        self._chunk = chunk
        self._origins = origins
        self._lines = np.fromiter((origin.line for origin in origins), np.int64, len(origins))
        self._elements = np.fromiter((origin.element for origin in origins), np.int64, len(origins))

    def at(self, index: int) -> Place:
        return _relayed(self._chunk, index, self._origins[index])

    def sources(self, taken: Numbers) -> Sources:
        names = {origin.day for origin in self._origins}
        files = {name: f"{marks.day_of(name).date}{_SUFFIX}" for name in names}
        doors = pa.array([origin.door for origin in self._origins], pa.string())
        journals = pa.array([files[origin.day] for origin in self._origins], pa.string())
        if np.array_equal(taken, np.arange(len(self._origins))):
            return Sources(doors, journals, self._lines, self._elements)
        return Sources(doors.take(taken), journals.take(taken), self._lines[taken], self._elements[taken])

    def marks(self) -> dict[str, int]:
        highs = {name: marks.day_of(name).high for name in {origin.day for origin in self._origins}}
        days = np.fromiter((highs[origin.day] for origin in self._origins), np.int64, len(self._origins))
        packed = marks.packed_all(days, self._lines, self._elements)
        doors = {origin.door for origin in self._origins}
        if len(doors) == 1:
            return {doors.pop(): int(packed.max())}
        each = np.array([origin.door for origin in self._origins])
        return {door: int(packed[each == door].max()) for door in doors}

    def newest_ms(self) -> int:
        return self._origins[-1].received_at_ms


class _MixedPlaces:
    """Records of relays and of others in one partition: each is looked at by itself."""

    def __init__(self, chunk: Chunk, origins: Sequence[Origin | None]) -> None:
        self._chunk = chunk
        self._origins = origins
        self._others = _ForeignPlaces(chunk)

    def at(self, index: int) -> Place:
        origin = self._origins[index]
        return self._others.at(index) if origin is None else _relayed(self._chunk, index, origin)

    def sources(self, taken: Numbers) -> Sources:
        name, topic = self._chunk.partition.name, self._chunk.partition.topic
        origins = [self._origins[index] for index in taken.tolist()]
        names = {origin.day for origin in origins if origin is not None}
        files = {day: f"{marks.day_of(day).date}{_SUFFIX}" for day in names}
        numbers = _offsets(self._chunk)[taken].tolist()
        lines = [n if origin is None else origin.line for origin, n in zip(origins, numbers, strict=True)]
        return Sources(
            pa.array([name if origin is None else origin.door for origin in origins], pa.string()),
            pa.array([topic if origin is None else files[origin.day] for origin in origins], pa.string()),
            np.array(lines, np.int64),
            np.array([0 if origin is None else origin.element for origin in origins], np.int64),
        )

    def marks(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for origin in self._origins:
            if origin is not None:
                mark = marks.packed(origin.day, origin.line, origin.element)
                found[origin.door] = max(mark, found.get(origin.door, 0))
        return found

    def newest_ms(self) -> int:
        return self.at(len(self._origins) - 1).received_at_ms


def _relayed(chunk: Chunk, index: int, origin: Origin) -> Place:
    day = marks.day_of(origin.day).date
    return Place(
        chunk.partition, chunk.offsets[index], origin.door, f"{day}{_SUFFIX}", origin.line, origin.element,
        day, origin.received_at_ms, relayed=True,
    )  # fmt: skip


def _one_source(door: str, file: str, lines: Numbers) -> Sources:
    count = len(lines)
    return Sources(
        pa.repeat(pa.scalar(door, pa.string()), count),
        pa.repeat(pa.scalar(file, pa.string()), count),
        lines,
        np.zeros(count, np.int64),
    )


def _offsets(chunk: Chunk) -> Numbers:
    if isinstance(chunk.offsets, range):
        return np.arange(chunk.offsets.start, chunk.offsets.stop, dtype=np.int64)
    return np.asarray(chunk.offsets, np.int64)


def _usable(origins: Sequence[Origin | None]) -> Sequence[Origin | None] | None:
    """The origins, None for one that no door gives: whatever a producer writes into a header, it lands.

    None altogether when there is none. A chunk whose origins are all good is seen to be so in columns.
    """
    given = [origin for origin in origins if origin is not None]
    if not given:
        return None
    if _all_good(given):
        return origins
    kept = [origin if origin is not None and _all_good([origin]) else None for origin in origins]
    return kept if any(origin is not None for origin in kept) else None


def _all_good(origins: Sequence[Origin]) -> bool:
    lines = [origin.line for origin in origins]
    elements = [origin.element for origin in origins]
    times = [origin.received_at_ms for origin in origins]
    if min(lines) < 1 or max(lines) > marks.LAST_LINE or min(elements) < 0 or max(elements) > _LAST_ELEMENT:
        return False
    if min(times) < 0 or max(times) > _LAST_MS:
        return False
    try:
        for day in {origin.day for origin in origins}:
            marks.day_of(day)
    except marks.OriginRangeError:
        return False
    return all(_DOOR.fullmatch(door) for door in {origin.door for origin in origins})
