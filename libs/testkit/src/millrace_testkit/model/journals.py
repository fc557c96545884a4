"""Reading day journals: physical lines, in (day, line) order (LAKE-30 to LAKE-34).

Where the lake is fed by Kafka, its rows are those of the same lines: a relayed record is the line, or the
element of it, that it was made from. Records of other producers are lines of no journal (`foreign_line`).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_SUFFIX = ".jsonl"
_TIMES = struct.Struct("<QQQ")


@dataclass(frozen=True)
class Line:
    """One physical line, without its line end; `number` counts from 1, blank and bad lines too.

    `received_at_ms` places it among the lines of other doors; in one journal it never falls.
    """

    door: str
    file: str
    number: int
    raw: bytes
    received_at_ms: int = 0

    @property
    def foreign(self) -> bool:
        """A record of Kafka that no door has looked at."""
        return not self.file.endswith(_SUFFIX)

    @property
    def day(self) -> str:
        """UTC day of the journal, of a foreign record that of its timestamp: `YYYY-MM-DD`."""
        if self.foreign:
            return f"{datetime.fromtimestamp(self.received_at_ms // 1000, UTC):%Y-%m-%d}"
        return self.file.removesuffix(_SUFFIX)

    @property
    def blank(self) -> bool:
        """Nothing but white space, of which a journal may have lines; nobody sends it as a payload."""
        return not self.raw.strip() and not self.foreign


def foreign_line(
    topic: str, topic_id: str, partition: int, offset: int, timestamp_ms: int, value: bytes
) -> Line:
    """The record at that Kafka offset, which has no header `millrace-origin`."""
    return Line(f"{topic_id}/{partition}", topic, offset + 1, value, timestamp_ms)


def in_order(lines: Iterable[Line]) -> list[Line]:
    """Lines of all doors and producers in the one order that counts for contacts (LAKE-65)."""
    return sorted(lines, key=lambda line: (line.day, line.received_at_ms, line.door, line.number))


@dataclass(frozen=True)
class Journal:
    """One journal root: the identity kept in it, and its lines in journal order."""

    door: str
    lines: tuple[Line, ...]


def read_journal(root: Path, *, today: str | None = None) -> Journal:
    """All lines of the day journals below `root` that a reader may consume.

    An unterminated last line is still being written when its journal is that of `today` (default: the
    UTC day now) or later; in an older journal it is a line like any other (LAKE-34).
    """
    today = today or datetime.now(UTC).strftime("%Y-%m-%d")
    door = (root / ".door").read_text().strip() if (root / ".door").exists() else ""
    files = sorted(file for file in root.glob("*.jsonl") if re.fullmatch(r"\d{4}-\d{2}-\d{2}", file.stem))
    lines = []
    for file in files:
        parts = file.read_bytes().split(b"\n")
        unterminated = parts.pop()
        if unterminated and file.stem < today:
            parts.append(unterminated)
        times = _received(root / f".{file.stem}.idx", file.stem, len(parts))
        lines += [
            Line(door, file.name, number, raw, received)
            for number, (raw, received) in enumerate(zip(parts, times, strict=True), 1)
        ]
    return Journal(door, tuple(lines))


def _received(sidecar: Path, day: str, lines: int) -> list[int]:
    """Unix ms of each line by the groups (first line, byte, ms) of the sidecar, never falling; else midnight."""
    moment = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1000
    content = sidecar.read_bytes() if sidecar.exists() else b""
    groups: dict[int, int] = {}
    for line, _, received_at_ms in _TIMES.iter_unpack(content[: len(content) // _TIMES.size * _TIMES.size]):
        groups[line] = max(received_at_ms, groups.get(line, 0))
    times = []
    for number in range(1, lines + 1):
        moment = max(moment, groups.get(number, 0))
        times.append(moment)
    return times
