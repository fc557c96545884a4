"""Lake against model, row by row."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millrace_testkit.model.expected import Expected, expect, origin
from millrace_testkit.model.journals import Line, in_order, read_journal
from millrace_testkit.model.rows import Row
from millrace_testkit.model.tables import read_dataset
from millrace_testkit.model.wire import storable
from millrace_testkit.progress import journal_roots

TABLES = ("messages", "contacts", "other", "dead_letters")
_ORDERED_JSON = frozenset({"messages.extra_fields"})
_JSON = frozenset({"messages.extra_fields", "contacts.extra_fields", "other.payload", "dead_letters.body"})

_EXPONENT = re.compile(r"[0-9]e[+-]?[0-9]")


@dataclass(frozen=True)
class Sums:
    """LAKE-61 over all journals: `lines` of the journals against what the tables hold."""

    lines: int
    blank: int
    rejected: int
    contact: int
    other: int
    messages: int
    duplicates: int

    @property
    def accounted(self) -> int:
        """The right side of the equation."""
        return self.blank + self.rejected + self.contact + self.other + self.messages + self.duplicates


def compare(
    data: Path,
    *,
    today: str | None = None,
    journals: Sequence[Path] | None = None,
    foreign: Iterable[Line] = (),
) -> list[str]:
    """What is different between the lake below the data directory and what its journals say; [] when equal.

    The landing processes must have consumed all lines. `today` as in `read_journal`; `journals` are the journal
    directories of all doors whose lines the lake holds, by default those below the data directory; `foreign`
    are the records of producers that have no journal.
    """
    expected = _expected(data, today, journals, foreign)
    tables = {name: read_dataset(data, name) for name in TABLES}
    return [
        *_messages(expected, tables["messages"]),
        *_keyed("contacts", expected.contacts, tables["contacts"], lambda row: row["username"]),
        *_keyed("other", expected.other, tables["other"], origin),
        *_keyed("dead_letters", expected.dead_letters, tables["dead_letters"], origin),
        *_faulty_fields(expected, tables["dead_letters"]),
        *_partitions(tables),
        *_accounting(_sums(expected, tables)),
    ]


def sums(
    data: Path,
    *,
    today: str | None = None,
    journals: Sequence[Path] | None = None,
    foreign: Iterable[Line] = (),
) -> Sums:
    """The sums of LAKE-61 for this data directory; arguments as in `compare`."""
    expected = _expected(data, today, journals, foreign)
    return _sums(expected, {name: read_dataset(data, name) for name in TABLES})


def _expected(
    data: Path, today: str | None, journals: Sequence[Path] | None, foreign: Iterable[Line]
) -> Expected:
    roots = journal_roots(data) if journals is None else journals
    lines = [line for root in roots for line in read_journal(root, today=today).lines]
    return expect(in_order([*lines, *foreign]))


def _messages(expected: Expected, rows: list[Row]) -> list[str]:
    """Exactly one row per msg_id, equal to one of its occurrences, origin included."""
    stored = Counter(row["msg_id"] for row in rows)
    missing = {msg_id: rows[0] for msg_id, rows in expected.messages.items() if msg_id not in stored}
    found = [f"messages: {msg_id} is missing, of {origin(first)}" for msg_id, first in missing.items()]
    found += [f"messages: {msg_id} is stored {count} times" for msg_id, count in stored.items() if count > 1]
    for row in rows:
        occurrences = {
            origin(occurrence): occurrence for occurrence in expected.messages.get(row["msg_id"], [])
        }
        if not occurrences:
            found.append(f"messages: {row['msg_id']} is in no journal, said to be of {origin(row)}")
        elif origin(row) not in occurrences:
            found.append(f"messages: {row['msg_id']} is of {origin(row)}, where the journal has another line")
        else:
            found += _columns("messages", row["msg_id"], occurrences[origin(row)], row)
    return sorted(found)


def _keyed(table: str, expected: dict[Any, Row], rows: list[Row], key: Any) -> list[str]:
    """Exactly the expected rows, one per key."""
    found = []
    stored = Counter(key(row) for row in rows)
    found += [f"{table}: {name} is missing" for name in expected.keys() - stored.keys()]
    found += [f"{table}: {name} is stored {count} times" for name, count in stored.items() if count > 1]
    for row in rows:
        if key(row) not in expected:
            found.append(f"{table}: {key(row)} should not be there")
        else:
            found += _columns(table, key(row), expected[key(row)], row)
    return sorted(found)


def _columns(table: str, key: object, expected: Row, row: Row) -> list[str]:
    return [
        f"{table}: {key}: {column} is {row.get(column)!r}, not {value!r}"
        for column, value in expected.items()
        if not _same(f"{table}.{column}", value, row.get(column))
        # A line that is no JSON has no reason beyond its error type.
        and not (column == "reason" and expected["error_type"] == "parse_error")
    ]


def _same(column: str, expected: Any, stored: Any) -> bool:
    """Equal; JSON text and numbers in value, since a float has several spellings (key order kept for messages)."""
    if expected == stored:
        return True
    if not isinstance(expected, str) or not isinstance(stored, str):
        return False
    if column not in _JSON and not _EXPONENT.search(expected):
        return False
    try:
        left, right = (storable(json.loads(text)) for text in (expected, stored))
    except ValueError:
        return False
    return left == right and (column not in _ORDERED_JSON or list(left) == list(right))


def _faulty_fields(expected: Expected, rows: list[Row]) -> list[str]:
    """A dead letter lists all missing fields, or at least one of those with a wrong type or value."""
    found = []
    for row in rows:
        faulty = expected.faulty_fields.get(origin(row))
        named = set(json.loads(row["fields"]))
        if faulty is None:
            continue
        complete = named == faulty if row["reason"] == "missing_required_field" else named <= faulty
        if not complete or bool(named) != bool(faulty):
            found.append(f"dead_letters: {origin(row)}: names {sorted(named)}, not {sorted(faulty)}")
    return found


def _partitions(tables: dict[str, list[Row]]) -> list[str]:
    """Rows landed by a clock lie in the partition of their ingestion day (LAKE-62)."""
    found = []
    for table in ("contacts", "other", "dead_letters"):
        for row in tables[table]:
            directory = f"{row['year']}-{row['month']}-{row['day']}"
            if directory != row["ingestion_time"].strftime("%Y-%m-%d"):
                found.append(f"{table}: {origin(row)} of {row['ingestion_time']} lies in {directory}")
    return found


def _sums(expected: Expected, tables: dict[str, list[Row]]) -> Sums:
    stored = len(tables["messages"])
    return Sums(
        lines=expected.lines,
        blank=expected.blank,
        rejected=len(tables["dead_letters"]),
        contact=expected.contact_lines,
        other=len(tables["other"]),
        messages=stored,
        duplicates=expected.message_lines - len(expected.messages),
    )


def _accounting(totals: Sums) -> list[str]:
    if totals.lines == totals.accounted:
        return []
    return [f"sums: {totals.lines} lines are read, {totals.accounted} accounted for: {totals}"]
