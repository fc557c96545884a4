"""Lines of journals that have a message of a msg_id: read in blocks, and only what looks like it is parsed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ingest_service.jsontext import NotAnObject, parse_object
from ingest_service.land.kinds import Message, kinds_of
from ingest_service.land.values import text, without_surrogates
from ingest_service.letters.sources import group_of
from millrace_ports.journal import JournalRoot
from millrace_ports.journal.root import midnight_ms

_BLOCK: Final = 8 << 20

Advanced = Callable[[int], None]
"""Told of bytes that are done."""


@dataclass(frozen=True, slots=True, order=True)
class Occurrence:
    """A line that has the id, as element `element` of a batch or as its only message."""

    journal: str
    line: int
    element: int
    door: str
    received_at_ms: int


def occurrences(root: JournalRoot, day: str, msg_id: str, advanced: Advanced) -> Iterator[Occurrence]:
    """In the order of the lines; a last line without an end counts too. Raises OSError.

    Memory: a block, or the longest line.
    """
    path = root.file(day)
    for number, line in _lines_with(path, _spellings(msg_id), advanced):
        for element in _elements(line, msg_id):
            group = group_of(root, day, number)
            time = midnight_ms(day) if group is None else group.received_at_ms
            yield Occurrence(str(path), number, element, root.door, time)


def _spellings(msg_id: str) -> tuple[bytes, ...]:
    """How JSON may have the id: as it is, or with what is not ASCII escaped."""
    plain = json.dumps(msg_id, ensure_ascii=False)[1:-1].encode(errors="surrogatepass")
    escaped = json.dumps(msg_id)[1:-1]
    return tuple(dict.fromkeys((plain, escaped.encode(), escaped.upper().replace("\\U", "\\u").encode())))


def _lines_with(path: Path, needles: tuple[bytes, ...], advanced: Advanced) -> Iterator[tuple[int, bytes]]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        before, rest = 0, b""  # lines that are done, and the beginning of the next one
        while block := os.read(descriptor, _BLOCK):
            advanced(len(block))
            end = block.rfind(b"\n") + 1
            if not end:
                rest += block
                continue
            whole, rest = rest + block[:end], block[end:]
            yield from _hits(whole, before, needles)
            before += whole.count(b"\n")
        if rest:
            yield from _hits(rest, before, needles)
    finally:
        os.close(descriptor)


def _hits(block: bytes, before: int, needles: tuple[bytes, ...]) -> Iterator[tuple[int, bytes]]:
    places = set()
    for needle in needles:
        at = block.find(needle)
        while at >= 0:
            places.add(block.rfind(b"\n", 0, at) + 1)
            following = block.find(b"\n", at)
            at = -1 if following < 0 else block.find(needle, following)
    for begin in sorted(places):
        end = block.find(b"\n", begin)
        number = before + block.count(b"\n", 0, begin) + 1
        yield number, block[begin : len(block) if end < 0 else end]


def _elements(line: bytes, msg_id: str) -> Iterator[int]:
    try:
        kinds = kinds_of(parse_object(line))
    except NotAnObject:
        return
    for kind in kinds:
        if isinstance(kind, Message) and without_surrogates(text(kind.data.get("msg_id"))) == msg_id:
            yield kind.element
