"""The report of a consumer group's progress: for people, for lag, and as a hint after a restart."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from millrace_ports.bus.port import Partition
from millrace_ports.journal.durable import replace_file, storage_errors


class FileState(msgspec.Struct, frozen=True):
    """What a finished journal looked like; unchanged means that `byte` is still where the position ends."""

    byte: int
    inode: int
    size: int
    modified_ns: int


class PartitionReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """`position` of the group; `finished` when the journal was closed and read to its end."""

    position: int
    finished: FileState | None = None


class _Report(msgspec.Struct, frozen=True):
    topic: str
    reported_at_ms: int
    partitions: dict[str, PartitionReport]


class OffsetsReport:
    """`<group>/<topic>.json`, replaced whole. An unreadable one counts as none: it is only a report."""

    def __init__(self, path: Path, topic: str) -> None:
        self._path = path
        self._topic = topic
        self._partitions: dict[str, PartitionReport] | None = None

    def byte_of(self, partition: Partition, position: int, journal: Path) -> int | None:
        """Byte at which `position` ends, when `journal` was finished there and has not changed since.

        Saves counting the lines of every old journal at each start. Raises FileNotFoundError, OSError.
        """
        reported = self._load().get(partition.name)
        if reported is None or reported.finished is None or reported.position != position:
            return None
        byte = reported.finished.byte
        return byte if _state(journal, byte) == reported.finished else None

    def save(
        self,
        positions: Mapping[Partition, int],
        finished: Mapping[Partition, tuple[int, int | None, Path]],
        *,
        now_ms: int,
    ) -> None:
        """Report `positions`; `finished` gives position, end in bytes and file of journals read to the end.

        Raises StorageUnavailableError.
        """
        partitions = self._load()
        for partition, position in positions.items():
            state = None
            last, byte, journal = finished.get(partition, (-1, None, Path()))
            if last == position and byte is not None and journal.exists():
                state = _state(journal, byte)
            partitions[partition.name] = PartitionReport(position, state)
        report = _Report(self._topic, now_ms, dict(sorted(partitions.items())))
        with storage_errors("report offsets to", self._path):
            replace_file(self._path, msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")

    def _load(self) -> dict[str, PartitionReport]:
        if self._partitions is None:
            try:
                self._partitions = msgspec.json.decode(self._path.read_bytes(), type=_Report).partitions
            except (OSError, msgspec.MsgspecError, ValueError):
                self._partitions = {}
        return self._partitions


def _state(journal: Path, byte: int) -> FileState:
    status = journal.stat()
    return FileState(byte, status.st_ino, status.st_size, status.st_mtime_ns)
