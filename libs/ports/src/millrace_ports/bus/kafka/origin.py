"""The header by which a relayed record says where it was durable first: `door/day/line/element/received_at_ms`.

`day` is `YYYY-MM-DD`, with `#<epoch>` behind it when the journal of that day was replaced.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from millrace_ports.bus.port import Origin

HEADER = "millrace-origin"

_JOURNAL = re.compile(r"([!-.0-~]+)/(\d{4}-\d\d-\d\d(?:#\d{1,9})?)", re.ASCII)
_TOO_LARGE = 1 << 62  # for a column of 64 bits


def check_origin(origin: Origin) -> None:
    """Raises ValueError when the origin's door or day has no place in the header."""
    _journal_text(origin.door, origin.day)


def encode_origin(origin: Origin) -> bytes:
    """The header's value. Raises ValueError as `check_origin` does."""
    journal = _journal_text(origin.door, origin.day)
    return b"%b/%d/%d/%d" % (journal, origin.line, origin.element, origin.received_at_ms)


def decode_origin(headers: Sequence[tuple[str, bytes | None]]) -> Origin | None:
    """The origin among a record's headers; None where there is none, or one that is malformed."""
    for name, value in headers:
        if name == HEADER:
            try:
                journal, line, element, received_at_ms = (value or b"").rsplit(b"/", 3)
                door, day = _journal_of(journal)
                if not (line + element + received_at_ms).isdigit():  # int() takes signs and spaces as well
                    return None
                origin = Origin(door, day, int(line), int(element), int(received_at_ms))
            except ValueError:
                return None
            in_range = (origin.line | origin.element | origin.received_at_ms) < _TOO_LARGE
            return origin if in_range else None
    return None


@lru_cache
def _journal_text(door: str, day: str) -> bytes:
    text = f"{door}/{day}"
    if not _JOURNAL.fullmatch(text):
        raise ValueError(f"{door!r} and {day!r} do not name the journal of a day at a door")
    return text.encode()


@lru_cache
def _journal_of(text: bytes) -> tuple[str, str]:
    found = _JOURNAL.fullmatch(text.decode("ascii"))
    if found is None:
        raise ValueError("not the journal of a day at a door")
    return found[1], found[2]
