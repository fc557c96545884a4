"""Records that were fetched and not yet delivered, as columns, cut to what a poll asks for."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from millrace_ports.bus.kafka.origin import decode_origin
from millrace_ports.bus.port import TRACEPARENT, Chunk, Origin, Partition


@dataclass(slots=True, eq=False)
class Place:
    """Where this consumer is in a partition assigned to it, from one word of the owner to the next.

    `delivered` and `fetched` are the numbers of the last record given to a poll and of the last one queued for
    one; `passed` is ahead of `fetched` by what holds no record, such as the end of a transaction. `newest_ms` is
    the latest time among the records fetched.
    """

    partition: Partition
    delivered: int
    fetched: int
    passed: int
    newest_ms: int = 0

    @property
    def read_to(self) -> int:
        """Number after which there may be a record that no poll was given."""
        return self.passed if self.delivered == self.fetched else self.delivered


@dataclass(slots=True)
class _Part:
    """What one fetch brought of one partition; records before `at` are delivered."""

    place: Place
    values: list[bytes]
    offsets: list[int]
    received_at_ms: list[int]
    origins: list[Origin | None] | None
    tombstones: frozenset[int]
    size: int
    traceparents: Mapping[int, str] | None
    at: int = 0


@dataclass(slots=True)
class Fetched:
    """The queue between fetches and polls; `traced`: records come with their trace contexts."""

    traced: bool = False
    _parts: deque[_Part] = field(default_factory=deque)

    def add(self, place: Place, records: Sequence[Any]) -> None:
        """Queue aiokafka's `records`, at least one, which follow those queued before."""
        values = [record.value for record in records]
        offsets = [record.offset + 1 for record in records]
        tombstones: frozenset[int] = frozenset()
        if None in values:
            tombstones = frozenset(o for o, value in zip(offsets, values, strict=True) if value is None)
            values = [value or b"" for value in values]
        times = [record.timestamp for record in records]
        times[0] = max(times[0], place.newest_ms)
        times = list(accumulate(times, max))
        origins = [decode_origin(record.headers) if record.headers else None for record in records]
        place.fetched = place.passed = offsets[-1]
        place.newest_ms = times[-1]
        self._parts.append(
            _Part(
                place,
                values,
                offsets,
                times,
                origins if any(origins) else None,
                tombstones,
                sum(map(len, values)),
                _traceparents(records) if self.traced else None,
            )
        )

    def take(self, max_records: int, max_bytes: int) -> list[Chunk]:
        """The next chunks, within the budget of `Consumer.poll`; [] when nothing is queued."""
        chunks: list[Chunk] = []
        while self._parts and max_records > 0 and max_bytes > 0:
            part = self._parts[0]
            count = min(len(part.values) - part.at, max_records)
            size = part.size
            if size > max_bytes or count < len(part.values):
                count, size = _fitting(part.values, part.at, count, max_bytes)
                if count == 0:
                    if chunks:
                        break
                    count, size = 1, len(part.values[part.at])
            chunks.append(_cut(part, count))
            max_records -= count
            max_bytes -= size
            if part.at == len(part.values):
                self._parts.popleft()
        return chunks

    def forget(self, place: Place) -> None:
        """Drop what is queued for `place`."""
        self._parts = deque(part for part in self._parts if part.place is not place)

    def clear(self) -> None:
        """Drop all."""
        self._parts.clear()


def _fitting(values: Sequence[bytes], at: int, count: int, max_bytes: int) -> tuple[int, int]:
    """How many of the values from `at`, at most `count`, have `max_bytes` together, and how many bytes they are."""
    size = 0
    for place in range(at, at + count):
        more = size + len(values[place])
        if more > max_bytes:
            return place - at, size
        size = more
    return count, size


def _cut(part: _Part, count: int) -> Chunk:
    begin, end = part.at, part.at + count
    part.at = end
    offsets = part.offsets[begin:end]
    start, part.place.delivered = part.place.delivered, offsets[-1]
    return Chunk(
        part.place.partition,
        start,
        offsets[-1],
        part.values[begin:end],
        offsets,
        part.received_at_ms[begin:end],
        None if part.origins is None else part.origins[begin:end],
        part.tombstones and part.tombstones.intersection(offsets),
        part.traceparents
        and {number: text for number, text in part.traceparents.items() if start < number <= offsets[-1]},
    )


def _traceparents(records: Sequence[Any]) -> dict[int, str]:
    """The header of those that have it, by number. As a rule a relayed record has its origin as the only header."""
    return {
        record.offset + 1: value.decode("ascii", "replace")
        for record in records
        if len(record.headers) > 1 or (record.headers and record.headers[0][0] == TRACEPARENT)
        for name, value in record.headers
        if name == TRACEPARENT and value is not None
    }
