"""Consumer of the embedded bus: reads day journals in order while doors append to them."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from millrace_ports.bus.offsets import OffsetsReport
from millrace_ports.bus.port import Chunk, Partition, Positions
from millrace_ports.errors import ClosedError, LockTimeoutError, PositionError
from millrace_ports.journal.durable import storage_errors
from millrace_ports.journal.reader import JournalReader, Lines, ReplacedError, closed
from millrace_ports.journal.root import JournalRoot, day_of

_SHORTEST_WAIT_S = 0.01
_LONGEST_WAIT_S = 0.08
_RACY_NS = 1_000_000_000

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Unplaced:
    """The owner has to say where to read on in the journal of `day`.

    `available` is None for a journal not seen before, else the lines of the one that replaced it.
    """

    day: str
    position: int
    available: int | None


class EmbeddedConsumer:
    """`millrace_ports.bus.port.Consumer` over one journal root, oldest day first.

    All reading happens in one thread of its own. A closed day that is read to its end is put aside and costs
    nothing more; the directory is listed again only when its modification time changes.
    """

    def __init__(
        self,
        root: JournalRoot,
        topic: str,
        positions: Positions,
        *,
        report_path: Path,
        now_ms: Callable[[], int],
        traced: bool = False,
    ) -> None:
        self._root = root
        self._topic = topic
        self._positions = positions
        self._now_ms = now_ms
        self._traced = traced
        self._wait_s = _SHORTEST_WAIT_S  # between looks; longer while nothing comes
        self._report = OffsetsReport(report_path, topic)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"read-{topic}")
        self._closed = False
        self._listed_ns = -1
        self._new: set[str] = set()  # days whose position is not known yet
        self._reading: dict[str, JournalReader] = {}
        self._finished: dict[str, JournalReader] = {}
        self._found: list[Chunk] = []  # read, but the poll that asked for it was cancelled

    async def poll(self, *, max_records: int, max_bytes: int, timeout_s: float) -> list[Chunk]:
        """See the port."""
        deadline = time.monotonic() + timeout_s
        while True:
            unplaced = await self._run(self._look, max_records, max_bytes)
            if self._found:
                found, self._found = self._found, []
                self._wait_s = _SHORTEST_WAIT_S
                return found
            if unplaced is not None:
                await self._place(unplaced)
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                return []
            await asyncio.sleep(min(left, self._wait_s))
            self._wait_s = min(self._wait_s * 1.5, _LONGEST_WAIT_S)

    async def ensure_durable(self, chunks: Sequence[Chunk]) -> None:
        """See the port: one fdatasync of each journal read, on a descriptor of its own."""
        days = sorted({_day_of(chunk.partition) for chunk in chunks})
        await asyncio.to_thread(_sync_files, [self._root.file(day) for day in days])

    async def reset(self, partition: Partition) -> None:
        """See the port."""
        await self._run(self._forget, _day_of(partition))

    async def report(self, positions: Mapping[Partition, int]) -> None:
        """See the port: `metadata/offsets/<group>/<topic>.json`, replaced whole."""
        await self._run(self._save_report, dict(positions))

    async def lag(self) -> Mapping[Partition, int]:
        """See the port; days read to the end are left out."""
        while (unplaced := await self._run(self._first_unplaced)) is not None:
            await self._place(unplaced)
        return await self._run(self._count_ahead)

    async def close(self) -> None:
        """See the port."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._thread.shutdown)
        for reader in [*self._reading.values(), *self._finished.values()]:
            reader.close()

    async def _run(self, work: Callable[..., _T], *arguments: object) -> _T:
        if self._closed:
            raise ClosedError(f"the consumer of {self._topic} is closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def _place(self, unplaced: _Unplaced) -> None:
        """Ask the owner where to read on, and go there."""
        partition = await self._run(self._partition, unplaced.day)
        if unplaced.available is None:
            position = await self._positions.start(partition)
        else:
            position = await self._positions.truncated(partition, unplaced.position, unplaced.available)
        available = await self._run(self._seek, unplaced.day, position)
        if available is None or available == position:
            return
        position = await self._positions.truncated(partition, position, available)
        if await self._run(self._seek, unplaced.day, position) not in (None, position):
            raise PositionError(f"{partition.name} has {available} records, cannot start at {position}")

    # What follows runs in the consumer's thread.

    def _look(self, max_records: int, max_bytes: int) -> _Unplaced | None:
        """Fill `_found`, oldest day first; or say which day has to be placed before reading can go on."""
        if self._found:
            return None
        self._list_days()
        if self._new:
            return self._first_unplaced()
        for day in sorted(self._reading):
            reader = self._reading[day]
            while max_records > 0 and max_bytes > 0:
                try:
                    lines = self._next_lines(reader, max_records, max_bytes)
                except ReplacedError as replaced:
                    if self._found:
                        return None  # first what was read before; the next look comes here again
                    self._forget(day)
                    return _Unplaced(day, reader.position, replaced.available)
                if lines is None:
                    break
                max_records -= len(lines.values)
                max_bytes -= lines.size
                self._found.append(chunk_of(self._partition(day), lines))
        return None

    def _next_lines(self, reader: JournalReader, max_records: int, max_bytes: int) -> Lines | None:
        budget = {"max_records": max_records, "max_bytes": max_bytes}
        with storage_errors("read journal", self._root.file(reader.day)):
            try:
                lines = reader.read(**budget, alone=not self._found)
                if lines is not None or reader.end() is None or reader.day >= day_of(self._now_ms()):
                    return lines
                size = closed(self._root, reader.day, now_ms=self._now_ms)
                if size is None:
                    return None
                # Lines may have come between the read and the lock; now none comes any more.
                lines = reader.read(**budget, alone=not self._found)
                if lines is None and reader.end() is not None:
                    lines = reader.read_tail(size)
                    if lines is None:
                        self._put_aside(reader)
            except FileNotFoundError:
                self._forget(reader.day)  # cleaned up
                return None
            except LockTimeoutError:
                return None  # a writer is busy: the day is closed some polls later
        return lines

    def _list_days(self) -> None:
        try:
            changed_ns = self._root.path.stat().st_mtime_ns
        except FileNotFoundError:
            changed_ns = 0
        if changed_ns == self._listed_ns:
            return
        with storage_errors("list journals in", self._root.path):
            days = set(self._root.days())
        # A name added within the same tick of the file system's clock would leave the time as it is: a time
        # is trusted only when it is well past.
        self._listed_ns = changed_ns if time.time_ns() - changed_ns > _RACY_NS else -1
        for day in self._reading.keys() - days:
            self._reading.pop(day).close()
        for day in list(self._finished):
            if day not in days:
                del self._finished[day]
            elif self._root.file(day).stat().st_size != self._finished[day].end():
                self._reading[day] = self._finished.pop(day)  # the clock went back, or it was replaced
        self._new = days - self._reading.keys() - self._finished.keys()

    def _first_unplaced(self) -> _Unplaced | None:
        self._list_days()
        return _Unplaced(min(self._new), 0, None) if self._new else None

    def _seek(self, day: str, position: int) -> int | None:
        """Begin to read after `position`. Returns the lines there are if fewer, None if it is gone."""
        reader = JournalReader(self._root, day, traced=self._traced)
        with storage_errors("read journal", self._root.file(day)):
            try:
                byte = self._report.byte_of(self._partition(day), position, self._root.file(day))
                available = reader.seek(position) if byte is None else reader.resume(position, byte)
            except FileNotFoundError:
                self._new.discard(day)
                return None
        if available == position:
            self._reading[day] = reader
            self._new.discard(day)
        else:
            reader.close()
        return available

    def _put_aside(self, reader: JournalReader) -> None:
        reader.close()
        self._finished[reader.day] = self._reading.pop(reader.day)

    def _forget(self, day: str) -> None:
        reader = self._reading.pop(day, None) or self._finished.pop(day, None)
        if reader is not None:
            reader.close()
        self._found = [chunk for chunk in self._found if _day_of(chunk.partition) != day]
        self._listed_ns = -1

    def _save_report(self, positions: Mapping[Partition, int]) -> None:
        ends = {
            self._partition(day): (reader.position, reader.end(), self._root.file(day))
            for day, reader in self._finished.items()
        }
        self._report.save(positions, ends, now_ms=self._now_ms())

    def _count_ahead(self) -> dict[Partition, int]:
        with storage_errors("read journals in", self._root.path):
            return {self._partition(day): reader.ahead() for day, reader in self._reading.items()}

    def _partition(self, day: str) -> Partition:
        return Partition(self._topic, f"{self._root.door}/{day}")


def chunk_of(partition: Partition, lines: Lines) -> Chunk:
    """Lines of a journal as the records of its partition."""
    end = lines.start + len(lines.values)
    return Chunk(
        partition,
        lines.start,
        end,
        lines.values,
        range(lines.start + 1, end + 1),
        lines.received_at_ms,
        traceparents=lines.traceparents,
    )


def _day_of(partition: Partition) -> str:
    return partition.name.rpartition("/")[2]


def _sync_files(paths: Sequence[Path]) -> None:
    for path in paths:
        with storage_errors("sync journal", path):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # cleaned up, which needs a stored position past its end
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
