"""Sending journal lines again: for records that Kafka has lost, or dead letters whose cause was mended.

A line that is sent again carries the origin that it had, so landing takes only what the lake does not hold. Lines
that the relay has not come to yet are left to it: it sends them by itself, and in order.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ingest_service.relay.positions import RelayPositions
from ingest_service.relay.publish import TOPIC, Publisher
from ingest_service.relay.records import records_of
from millrace_ports.bus.port import Chunk, Partition
from millrace_ports.journal import JournalReader, JournalRoot, closed
from millrace_ports.journal.durable import storage_errors

_LAST_LINE: Final = 2**63 - 1


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Point:
    """A line of a day's journal; `day` is `YYYY-MM-DD`, lines count from 1."""

    day: str
    line: int

    def __str__(self) -> str:
        return f"{self.day}:{self.line}"


FIRST: Final = 1
LAST: Final = _LAST_LINE


@dataclasses.dataclass(frozen=True, slots=True)
class Stretch:
    """Lines `first` to `last` of one journal, at least one."""

    day: str
    first: int
    last: int
    epoch: int

    @property
    def lines(self) -> int:
        """How many."""
        return self.last - self.first + 1


@dataclasses.dataclass(slots=True)
class Sent:
    """What is on the bus again so far; `up_to` is the last line of it."""

    lines: int = 0
    records: int = 0
    up_to: Point | None = None


class Replay:
    """Sends stretches of the journals of one root.

    Args:
        root: the journals.
        positions: how far the relay has come in them; not changed.
        publisher: gets records onto the bus.
        max_records, max_bytes: of one publish.
    """

    def __init__(
        self,
        root: JournalRoot,
        positions: RelayPositions,
        publisher: Publisher,
        *,
        now_ms: Callable[[], int],
        max_records: int,
        max_bytes: int,
    ) -> None:
        self._root = root
        self._positions = positions
        self._publisher = publisher
        self._now_ms = now_ms
        self._max_records, self._max_bytes = max_records, max_bytes
        self.sent = Sent()

    async def stretches(self, first: Point, last: Point) -> list[Stretch]:
        """The relayed lines between two points, both included, oldest first. Raises StorageUnavailableError."""
        with storage_errors("list journals in", self._root.path):
            days = await asyncio.to_thread(self._root.days)
        found = []
        for day in days:
            if not first.day <= day <= last.day:
                continue
            relayed = await self._positions.start(self._partition(day))
            begin = first.line if day == first.day else FIRST
            end = min(relayed, last.line if day == last.day else LAST)
            if begin <= end:
                epoch = self._positions.place(self._partition(day)).epoch
                found.append(Stretch(day, begin, end, epoch))
        return found

    async def send(self, stretches: Sequence[Stretch], progress: Callable[[int], None]) -> None:
        """Return when the bus holds them; `progress` gets the lines sent so far.

        Raises StoppedError, and StorageUnavailableError when a journal cannot be read; `sent` says how far it came.
        """
        for stretch in stretches:
            partition = self._partition(stretch.day)
            chunks = self._chunks(stretch)
            while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
                made = await asyncio.to_thread(records_of, [chunk], {partition: stretch.epoch})
                records = await self._publisher.sendable(made.records)
                await self._publisher.publish(records)
                self.sent.lines += len(chunk.values)
                self.sent.records += len(records)
                self.sent.up_to = Point(stretch.day, chunk.end)
                progress(self.sent.lines)

    def _chunks(self, stretch: Stretch) -> Iterator[Chunk]:
        """The lines in readable pieces. Blocks. Ends early when the journal has become shorter."""
        reader = JournalReader(self._root, stretch.day)
        with storage_errors("read journal", self._root.file(stretch.day)):
            try:
                if reader.seek(stretch.first - 1) != stretch.first - 1:
                    return
                while reader.position < stretch.last:
                    left = min(self._max_records, stretch.last - reader.position)
                    lines = reader.read(max_records=left, max_bytes=self._max_bytes)
                    if lines is None:
                        size = closed(self._root, stretch.day, now_ms=self._now_ms)
                        lines = None if size is None else reader.read_tail(size)
                    if lines is None:
                        return
                    end = lines.start + len(lines.values)
                    yield Chunk(
                        self._partition(stretch.day),
                        lines.start,
                        end,
                        lines.values,
                        range(lines.start + 1, end + 1),
                        lines.received_at_ms,
                    )
            finally:
                reader.close()

    def _partition(self, day: str) -> Partition:
        return Partition(TOPIC, f"{self._root.door}/{day}")
