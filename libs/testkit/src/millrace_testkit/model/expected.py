"""What every table must hold, given the journals."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from millrace_testkit.model.journals import Line
from millrace_testkit.model.rows import Event, RejectedError, Row, events, rejected
from millrace_testkit.model.wire import NotJsonObjectError, compact, parse_object

Origin = tuple[str, str, int, int]
"""(door, journal file, physical line, element)"""


@dataclass
class Expected:
    """Every table's rows, without ingestion_time and what is derived from it.

    `messages`: per msg_id all its occurrences in journal order; exactly one of them is stored (which one is
    open when several processes land at once). `contacts`: the one row per username. `other` and
    `dead_letters`: rows by origin; `faulty_fields` the fields a dead letter may name.
    `lines` counts a batch line once per element (LAKE-61).
    """

    messages: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    contacts: dict[str, Row] = field(default_factory=dict)
    other: dict[Origin, Row] = field(default_factory=dict)
    dead_letters: dict[Origin, Row] = field(default_factory=dict)
    faulty_fields: dict[Origin, frozenset[str]] = field(default_factory=dict)
    lines: int = 0
    blank: int = 0
    contact_lines: int = 0

    @property
    def message_lines(self) -> int:
        """Valid messages, repeats included."""
        return sum(map(len, self.messages.values()))


def expect(lines: Iterable[Line]) -> Expected:
    """Fold the lines, given in journal order, into the state they must lead to."""
    expected = Expected()
    for line in lines:
        if line.blank:
            expected.lines += 1
            expected.blank += 1
            continue
        for event in _events(line):
            expected.lines += 1
            _apply(expected, event)
    return expected


def origin(row: dict[str, Any]) -> Origin:
    """Where a row came from."""
    return (row["src_door"], row["src_file"], row["src_line"], row["src_element"])


def _events(line: Line) -> Iterable[Event]:
    try:
        payload = parse_object(line.raw)
    except NotJsonObjectError:
        return [_unparsed(line)]
    return events(line, payload)


def _unparsed(line: Line) -> Event:
    error = RejectedError("parse_error", "", set())
    try:
        return rejected(line, error, body=line.raw.decode())
    except UnicodeDecodeError:
        event = rejected(line, error, body="")
        event.row["body_base64"] = base64.b64encode(line.raw).decode()
        return event


def _apply(expected: Expected, event: Event) -> None:
    row = event.row
    match event.table:
        case "messages":
            expected.messages[row["msg_id"]].append(row)
        case "contacts":
            expected.contact_lines += 1
            stored = expected.contacts.get(row["username"])
            expected.contacts[row["username"]] = (
                _deleted(stored, event) if event.deletion and stored is not None else row
            )
        case "other":
            expected.other[origin(row)] = row
        case "dead_letters":
            expected.dead_letters[origin(row)] = {"body_base64": None, **row}
            expected.faulty_fields[origin(row)] = event.fields


def _deleted(stored: Row, event: Event) -> Row:
    """LAKE-41: the row keeps its columns, deleteFlag is 1, the 1201's unknown keys join extra_fields."""
    before = parse_object(stored["extra_fields"].encode()) if stored["extra_fields"] else {}
    after = {**before, **(event.extra or {})}
    return {**stored, "deleteFlag": 1, "extra_fields": compact(after) if after else None}
