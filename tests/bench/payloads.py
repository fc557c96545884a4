"""Webhook payloads in any number: the sample's own lines with fresh ids and times. Deterministic."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingest_service.land.messages import decode_ordinary
from standalone import sample

FIRST_ID = 7_400_000_000_000_000_000
DAY_S = 86_400
START_S = 1_767_225_600
"""2026-01-01T00:00:00Z."""
FIRST_DAY = "2026-01-01"

_PLACES = re.compile(rb'(.*"create_time": )\d+(.*"msg_id": ")\d+(".*)', re.DOTALL)
_MSG_ID = re.compile(rb'(?<="msg_id": ")\d+(?=")')


@dataclass(frozen=True, slots=True)
class Template:
    """An ordinary message, cut open where its time and its id stand."""

    head: bytes
    middle: bytes
    tail: bytes

    def line(self, msg_id: int, create_time: int) -> bytes:
        """The payload with this id and time (Unix seconds)."""
        return b"%b%d%b%d%b" % (self.head, create_time, self.middle, msg_id, self.tail)


def templates() -> list[Template]:
    """The sample's ordinary messages: 1,900 of some 660 bytes, in their order."""
    found = []
    for line in sample.payloads():
        places = _PLACES.fullmatch(line)
        if places and _ordinary(line):
            found.append(Template(*places.groups()))
    return found


def messages(
    count: int, *, first_id: int = FIRST_ID, start_s: int = START_S, days: int = 1
) -> Iterator[bytes]:
    """`count` messages with ids from `first_id` on and times that rise evenly over `days` from `start_s` on."""
    cut = templates()
    span = days * DAY_S
    for number in range(count):
        yield cut[number % len(cut)].line(first_id + number, start_s + number * span // count)


def exactly(size: int, count: int) -> list[bytes]:
    """`count` messages of `size` bytes each: the shorter ones of the sample, their text lengthened."""
    bodies: list[bytes] = []
    for line in messages(count * 4):
        missing = size - len(line)
        if missing >= 0 and b'"content": "' in line:
            bodies.append(line.replace(b'"content": "', b'"content": "' + b"x" * missing, 1))
            if len(bodies) == count:
                return bodies
    raise ValueError(f"the sample has too few messages below {size} bytes")


def mixed(count: int) -> tuple[list[bytes], int]:
    """`count` lines of every kind as the sample has them, times as they are, each message with a fresh id.

    Returns the lines and how many messages they hold.
    """
    source: Sequence[bytes] = sample.payloads()
    ids = iter(range(FIRST_ID, FIRST_ID + 1000 * count))
    given = 0

    def fresh(_: re.Match[bytes]) -> bytes:
        nonlocal given
        given += 1
        return b"%d" % next(ids)

    return [_MSG_ID.sub(fresh, source[number % len(source)]) for number in range(count)], given


def write_lines(path: Path, lines: Iterator[bytes] | Sequence[bytes]) -> None:
    """One payload a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb", buffering=1 << 20) as file:
        for line in lines:
            file.write(line + b"\n")


def _ordinary(line: bytes) -> bool:
    try:
        decode_ordinary(line)
    except ValueError:
        return False
    return True
