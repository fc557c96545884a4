"""How far the relay has come: `metadata/relay/<door>.json` for each door, the authority on it.

The bus holds every line up to a saved position. A position is saved after the acknowledgement, so a crash in
between repeats records; they carry the same origins and change nothing in the lake.
"""

from __future__ import annotations

import asyncio
import copy
import pathlib
from collections.abc import Callable, Mapping

import msgspec

from ingest_service.lake.durable import write_durably
from millrace_ports.bus.port import Partition
from millrace_ports.journal.durable import storage_errors
from millrace_runtime.logs import get_logger

log = get_logger(__name__)


class Place(msgspec.Struct, omit_defaults=True):
    """`line` is the last physical line of a journal that the bus holds; `epoch` counts how often the journal
    was replaced by one with fewer lines.

    `topic` is the id that the bus's topic had before line 1 was sent. `ends` is there when the journal was closed
    and all of it relayed: the last record, at that moment, of each partition (`<topic id>/<number>`), so that
    everything up to `line` is in a lake that is past all of them. It is empty where the topic was made anew in
    between: nobody can tell then where the lines are.
    """

    line: int
    epoch: int = 0
    topic: str = ""
    ends: dict[str, int] | None = None


class _Saved(msgspec.Struct):
    door: str
    saved_at_ms: int
    journals: dict[str, Place]


class RelayPositions:
    """`millrace_ports.bus.Positions` of the doors of one data directory, each kept in a file that is replaced
    whole and synced."""

    def __init__(self, directory: pathlib.Path, *, now_ms: Callable[[], int]) -> None:
        self._directory = directory
        self._now_ms = now_ms
        self._doors: dict[str, dict[str, Place]] = {}
        self._unsaved: set[str] = set()

    async def start(self, partition: Partition) -> int:
        """The last line that the bus is known to hold."""
        return (await self._started(partition)).line

    async def truncated(self, partition: Partition, position: int, available: int) -> int:
        """The journal was replaced: a new epoch, read from line 1.

        It is saved at once. Were it forgotten in a crash, the journal could have grown beyond the old
        position by the next start, and its first lines would be taken for relayed.
        """
        before = await self._started(partition)
        log.error("journal_replaced", partition=partition.name, position=position, lines=available)
        door, day = _named(partition)
        self._doors[door][day] = Place(0, before.epoch + 1)
        self._unsaved.add(door)
        try:
            await self.save()
        except BaseException:
            self._doors[door][day] = before
            raise
        return 0

    def place(self, partition: Partition) -> Place:
        """Where the relay stands in a partition that was started before; a copy."""
        return copy.copy(self._place(partition))

    def lines(self, topic: str) -> dict[Partition, int]:
        """Positions of all journals."""
        return {
            Partition(topic, f"{door}/{day}"): place.line
            for door, journals in self._doors.items()
            for day, place in journals.items()
        }

    def begin(self, partition: Partition, topic: str) -> None:
        """The topic has this id, and nothing of the partition's present epoch was sent before."""
        self._place(partition).topic = topic

    def take(self, ends: Mapping[Partition, Place]) -> None:
        """The bus holds these partitions up to these lines of these epochs; to be saved.

        A line of an older epoch changes nothing: its journal was replaced while it was on its way.
        """
        for partition, end in ends.items():
            place = self._place(partition)
            if place.epoch == end.epoch:
                place.line, place.ends = end.line, None
                self._unsaved.add(_named(partition)[0])

    def close(self, at: Mapping[Partition, Place], ends: Mapping[Partition, int]) -> None:
        """These journals are closed and the bus held all of them before it ended at `ends`; to be saved.

        `at` is where they stood before; one that has gone on since is not closed.
        """
        for partition, then in at.items():
            place = self._place(partition)
            if (place.line, place.epoch) != (then.line, then.epoch):
                continue
            one_topic = place.topic != "" and all(_named(end)[0] == place.topic for end in ends)
            if not one_topic:
                log.warning("journal_of_several_topics", partition=partition.name, topic=place.topic)
            place.ends = {end.name: number for end, number in ends.items()} if one_topic else {}
            self._unsaved.add(_named(partition)[0])

    async def save(self) -> None:
        """Return when what was taken is on stable storage. Raises StorageUnavailableError."""
        for door in sorted(self._unsaved):
            saved = _Saved(door, self._now_ms(), dict(sorted(self._doors[door].items())))
            content = msgspec.json.format(msgspec.json.encode(saved), indent=2) + b"\n"
            self._unsaved.discard(door)
            path = self._file(door)
            try:
                with storage_errors("save relay positions to", path):
                    await asyncio.to_thread(write_durably, path, [content])
            except BaseException:
                self._unsaved.add(door)
                raise

    def _place(self, partition: Partition) -> Place:
        door, day = _named(partition)
        return self._doors[door][day]

    async def _started(self, partition: Partition) -> Place:
        door, day = _named(partition)
        if door not in self._doors:
            path = self._file(door)
            with storage_errors("read relay positions from", path):
                loaded = await asyncio.to_thread(_load, path)
            self._doors.setdefault(door, loaded)
        return self._doors[door].setdefault(day, Place(0))

    def _file(self, door: str) -> pathlib.Path:
        return self._directory / f"{door}.json"


def places_of_door(path: pathlib.Path) -> dict[str, Place]:
    """The places in a positions file, by day; none when it is not there or cannot be read. Raises OSError."""
    return _load(path)


def forget_sent(path: pathlib.Path) -> None:
    """Have the relay of the positions file `path` begin at the first line of every journal again.

    Epochs stay, so that a line that is sent again has the origin that it had. A file that cannot be read is removed,
    which comes to the same. Raises OSError.
    """
    try:
        saved = _decoded(path.read_bytes())
    except (msgspec.MsgspecError, UnicodeDecodeError):
        path.unlink()
        return
    journals = {day: Place(0, place.epoch) for day, place in saved.journals.items()}
    content = msgspec.json.encode(_Saved(saved.door, saved.saved_at_ms, journals))
    write_durably(path, [msgspec.json.format(content, indent=2) + b"\n"])


def _named(partition: Partition) -> tuple[str, str]:
    """Door and day of a journal; topic id and number of a partition of Kafka."""
    first, _, last = partition.name.rpartition("/")
    return first, last


def _load(path: pathlib.Path) -> dict[str, Place]:
    try:
        return _decoded(path.read_bytes()).journals
    except FileNotFoundError:
        return {}
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        log.error("relay_positions_unreadable", path=str(path), error=str(error))
        return {}


def _decoded(content: bytes) -> _Saved:
    return msgspec.json.decode(content, type=_Saved)
