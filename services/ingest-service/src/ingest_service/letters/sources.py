"""What the journals that are still there know of a line: its bytes, when it came in, and the batch it may be."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from ingest_service.jsontext import NotAnObject, parse_object
from ingest_service.land.kinds import MESSAGE_BATCH
from ingest_service.land.values import compact, without_surrogates
from ingest_service.letters.letter import Letter
from ingest_service.relay.split import encoded
from millrace_ports.bus.embedded import former_roots
from millrace_ports.bus.port import Origin
from millrace_ports.journal import JournalReader, JournalRoot
from millrace_ports.journal.root import day_in
from millrace_ports.journal.sidecar import ENTRY, Entry

_MOST_BYTES: Final = 1 << 20
_ENTRY: Final = np.dtype([("line", "<u8"), ("byte", "<u8"), ("received_at_ms", "<u8")])


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """A line of a journal, where it lies, and when it was received."""

    path: Path
    value: bytes
    received_at_ms: int


class Journals:
    """The journals of some roots, by door."""

    def __init__(self, roots: Mapping[str, JournalRoot]) -> None:
        self.roots = roots

    @classmethod
    def beside(cls, raw: Path) -> Journals:
        """Those of the directory `raw` and, beside it, those of former doors. Makes nothing. Raises OSError."""
        roots = {root.door: root for root in former_roots(raw.parent.parent)}
        if (raw / ".door").is_file():
            own = JournalRoot(raw)
            roots[own.door] = own
        return cls(roots)

    def line(self, door: str, file: str, line: int) -> Line | None:
        """None when that journal is not here any more, or has no such line. Raises OSError."""
        day, root = day_in(file), self.roots.get(door)
        if day is None or root is None:
            return None
        with contextlib.closing(JournalReader(root, day)) as reader, contextlib.suppress(FileNotFoundError):
            received_at_ms = _go_to(reader, root, day, line)
            if received_at_ms is None and reader.seek(line - 1) != line - 1:
                return None
            while True:
                left = line - reader.position
                lines = reader.read(max_records=left, max_bytes=_MOST_BYTES)
                if lines is None and left == 1:  # the last line of a day that ended without a line end
                    lines = reader.read_tail(root.file(day).stat().st_size)
                if lines is None:
                    return None
                if reader.position == line:
                    # Times of a reader that has begun elsewhere than at the start are not to be trusted.
                    time = lines.received_at_ms[-1] if received_at_ms is None else received_at_ms
                    return Line(root.file(day), bytes(lines.values[-1]), time)
        return None


def _go_to(reader: JournalReader, root: JournalRoot, day: str, line: int) -> int | None:
    """Goes to the group of lines that has this one, by the sidecar, which is looked up and not read through.

    Returns when the group was received; None where the sidecar does not tell.
    """
    group = group_of(root, day, line)
    if group is None:
        return None
    reader.resume(group.line - 1, group.byte)
    return group.received_at_ms


def group_of(root: JournalRoot, day: str, line: int) -> Entry | None:
    """The entry of the group of lines that has this one; None where the sidecar does not tell. Raises OSError."""
    with contextlib.suppress(FileNotFoundError, ValueError):  # ValueError: an empty sidecar
        size = root.sidecar(day).stat().st_size // ENTRY.size
        entries = np.memmap(root.sidecar(day), _ENTRY, "r", shape=(size,))
        at = int(np.searchsorted(entries["line"], line, "right")) - 1
        if at >= 0:
            entry = Entry(*(int(value) for value in entries[at].item()))
            # Else zeros that a crash has left, or of another journal.
            if 0 < entry.line <= line and _begins(root.file(day), entry.byte):
                return entry
    return None


def _begins(path: Path, byte: int) -> bool:
    """Whether a line begins at this byte."""
    with path.open("rb", buffering=0) as file:
        file.seek(max(0, byte - 1))
        return byte == 0 or file.read(1) == b"\n"


def origin_of(letter: Letter, line: Line | None) -> Origin | None:
    """The letter's origin, with the time of receipt that the journal has; None for one that no door has read."""
    origin = letter.origin
    if origin is None or line is None:
        return origin
    if line.value != letter.body and _batch_of(letter, line) is None:
        return origin  # the journal was replaced: this is another line
    return Origin(origin.door, origin.day, origin.line, origin.element, line.received_at_ms)


def whole(letter: Letter, line: Line | None, guid: str | None) -> bytes:
    """The payload that the letter stands for.

    Of a 1011 batch the letter has the element alone; what it was part of is in the journal, else the `guid` of
    another element of the same line that has landed. Where neither is known the element stays alone.
    """
    try:
        batch = None if line is None else _batch_of(letter, line)
        if batch is not None:
            return encoded({**batch, "data": [batch["data"][letter.id.element]]})
    except RecursionError:
        return letter.body
    if guid is None or not _is_element(letter.body):
        return letter.body
    return b'{"guid":%b,"notify_type":%d,"data":[%b]}' % (encoded(guid), MESSAGE_BATCH, letter.body)


def _batch_of(letter: Letter, line: Line) -> dict[str, Any] | None:
    """The batch in this line, if the letter is an element of it."""
    try:
        payload = parse_object(line.value)
    except NotAnObject:
        return None
    data = payload.get("data")
    if payload.get("notify_type") != MESSAGE_BATCH or not isinstance(data, list):
        return None
    if letter.id.element >= len(data):
        return None
    try:
        same = compact(without_surrogates(data[letter.id.element])).encode() == letter.body
    except RecursionError:
        return None
    return payload if same else None


def _is_element(body: bytes) -> bool:
    """Whether it has nothing of an envelope; it need not be an object."""
    try:
        payload = parse_object(body)
    except NotAnObject as error:
        return error.reason == "not_an_object"
    return "guid" not in payload and "notify_type" not in payload
