"""Everything that is still known of one message: accepted, relayed, landed, moved, and which repeats were dropped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ingest_service.errors import NotFoundError
from ingest_service.ingest.failures import ingest_errors
from ingest_service.lake.tables import Lake
from ingest_service.letters.sources import Journals, Line
from ingest_service.proof.history import Step, history
from ingest_service.proof.relayed import Relayed, foreign, relayed
from ingest_service.proof.repeats import Occurrence, occurrences
from ingest_service.proof.stored import StoredRow, stored_rows

Planned = Callable[[int], None]
Advanced = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The line of a journal that became the row, and when the door had it."""

    journal: str
    door: str
    line: int
    element: int
    received_at_ms: int | None


@dataclass(slots=True)
class Trace:
    """What is known of a msg_id.

    `row` is None where no row has it: then its lines wait for landing, or are dead letters. `file` is the data file
    that holds the row now. `repeats` are the other lines of the journals that have the id; none of them became a row.
    `unknown` says what can not be told any more, and why.
    """

    msg_id: str
    row: StoredRow | None = None
    file: str | None = None
    archived: bool = False
    accepted: Accepted | None = None
    relayed: Relayed | None = None
    landed: Step | None = None
    rewritten: list[Step] = field(default_factory=list)
    moved_to_archive: Step | None = None
    repeats: list[Occurrence] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def trace(
    msg_id: str,
    parquet_root: str | Path,
    raw_dir: str | Path,
    *,
    archive_root: str | Path | None = None,
    planned: Planned = lambda _bytes: None,
    advanced: Advanced = lambda _bytes: None,
) -> Trace:
    """Follow a message through the files of an installation; changes nothing.

    Args:
        msg_id: as it is stored.
        parquet_root: the lake, with metadata beside it.
        raw_dir: the journals; those of former doors lie beside it.
        archive_root: default `archive` beside the lake.
        planned, advanced: told how many bytes of journals there are to search, and of those that are done.

    Raises:
        NotFoundError: neither a row nor a line of a journal has this id.
        StorageIoError, NoPermissionError: something is there and cannot be read.
    """
    root, raw = Path(parquet_root).expanduser().absolute(), Path(raw_dir).expanduser().absolute()
    with ingest_errors("trace", root):
        lake = Lake(
            root, archive=None if archive_root is None else Path(archive_root).expanduser().absolute()
        )
        found = Trace(msg_id)
        journals = Journals.beside(raw)
        stored = stored_rows(lake, msg_id)
        found.unknown += [f"{problem}: its rows are not looked at" for problem in stored.unreadable]
        if stored.rows:
            _tell_row(found, lake, stored.rows, journals)
        _tell_repeats(found, journals, planned, advanced)
        if found.row is None and not found.repeats:
            raise NotFoundError(f"msg_id {msg_id}: no row and no line of a journal has it", source=root)
    return found


def _tell_row(found: Trace, lake: Lake, rows: Sequence[StoredRow], journals: Journals) -> None:
    # On its way to the archive it stands in both: the lake's is still the row, and the archive's where it will be.
    row = found.row = rows[0]
    found.archived = any(each.archived for each in rows)
    found.file = str(row.table / row.file)
    past = history(row, found.msg_id)
    found.rewritten, found.unknown = past.rewritten, found.unknown + past.unknown
    landed = past.commit
    if row.archived:
        found.moved_to_archive, landed = past.landed, None
        found.unknown.append("the commit that landed it: the lake's log has no archived row")
    else:
        found.landed = past.landed
    found.relayed = foreign(row)
    if found.relayed is not None:
        found.unknown.append("when it was accepted: no door has read it, a producer sent it to Kafka itself")
        return
    found.relayed = relayed(row, found.msg_id, lake.root.parent / "metadata", landed)
    line = journals.line(row.src_door, row.src_file, row.src_line)
    found.accepted = _accepted(found, row, line, journals)


def _accepted(found: Trace, row: StoredRow, line: Line | None, journals: Journals) -> Accepted:
    if line is None:
        why = "is cleaned up" if row.src_door in journals.roots else "is not here"
        found.unknown.append(f"when it was accepted: the journal {row.src_file} of {row.src_door} {why}")
        return Accepted(row.src_file, row.src_door, row.src_line, row.src_element, None)
    return Accepted(str(line.path), row.src_door, row.src_line, row.src_element, line.received_at_ms)


def _tell_repeats(found: Trace, journals: Journals, planned: Planned, advanced: Advanced) -> None:
    searched = [(root, day) for root in journals.roots.values() for day in root.days()]
    if not searched:
        found.unknown.append("repeats: no journal is here")
    planned(sum(root.file(day).stat().st_size for root, day in searched))
    own = None
    if found.row is not None:
        own = (found.row.src_door, found.row.src_file, found.row.src_line, found.row.src_element)
    for root, day in searched:
        for one in occurrences(root, day, found.msg_id, advanced):
            if (one.door, Path(one.journal).name, one.line, one.element) != own:
                found.repeats.append(one)
    found.repeats.sort()
    if found.row is not None and found.relayed is not None:
        found.unknown.append("repeats that Kafka alone has had: only journals are searched")
