"""Which commits brought a row into the table and into the file that it is in now, as far as the log reaches back."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from ingest_service.lake.log import Commit, LogUnavailableError, entry, read_commit
from ingest_service.proof.stored import StoredRow, holds


@dataclass(frozen=True, slots=True)
class Step:
    """A commit that put the row into `file`, a path below the table."""

    table: str
    version: int
    committed_at_ms: int | None
    file: str


@dataclass(slots=True)
class History:
    """`landed` is the commit that added the row; `rewritten` are compactions and repairs that moved it since, oldest
    first. `commit` is the whole of `landed`, for whoever looks what else is in it."""

    landed: Step | None = None
    rewritten: list[Step] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    commit: Commit | None = None


def history(row: StoredRow, msg_id: str) -> History:
    """Follows the row back from the file that it is in. Raises OSError."""
    found = History()
    file: str | None = row.file
    while file is not None:
        commit = _adder(row.table, file)
        if commit is None:
            found.unknown.append(f"{row.table.name}: {_expired(row.table, file)}")
            break
        step = Step(row.table.name, commit.version, commit.time_ms, file)
        if any(file == added.path for added in commit.added) and not _replaces(commit, file):
            found.landed, found.commit = step, commit
            break
        found.rewritten.insert(0, step)
        file = _before(row.table, commit, file, msg_id)
        if file is None:
            found.unknown.append(
                f"{row.table.name}: the file that the row landed in is removed since it was compacted"
            )
    if found.landed is None and not row.archived:
        found.commit = _passing(row)
        if found.commit is not None:
            file = _in_partition(found.commit, row)
            found.landed = Step(row.table.name, found.commit.version, found.commit.time_ms, file)
            found.unknown.pop()
    return found


def _passing(row: StoredRow) -> Commit | None:
    """The commit by which the lake's position passed the row's line: of a row that came by its journal and whose
    first file is gone. None where the log does not tell."""
    begin = f"lake/{row.src_door}/{row.src_file.removesuffix('.jsonl')}#"
    positions: dict[str, int] = {}
    versions = entries(row.table)
    if versions and versions[-1] > 0:
        # What came before the oldest entry is not known: its positions count from the first that is seen.
        positions = dict.fromkeys((f"{begin}{epoch}" for epoch in range(16)), row.src_line)
    for version in reversed(versions):
        for commit in commits(row.table, begin.encode(), [version]):
            for app, line in commit.transactions.items():
                if not app.startswith(begin):
                    continue
                if positions.get(app, 0) < row.src_line <= line and _in_partition(commit, row):
                    return commit
                positions[app] = line
    return None


def _in_partition(commit: Commit, row: StoredRow) -> str:
    """The file that the commit added to the partition of the row; empty for none."""
    here = str(pathlib.PurePath(row.file).parent)
    return next(
        (added.path for added in commit.added if str(pathlib.PurePath(added.path).parent) == here), ""
    )


def entries(table: pathlib.Path) -> list[int]:
    """Versions of the log's entries that are still there, newest first."""
    names = (path.stem for path in (table / "_delta_log").glob("*.json"))
    return sorted((int(name) for name in names if name.isdigit()), reverse=True)


def commits(
    table: pathlib.Path, containing: bytes, versions: Sequence[int] | None = None
) -> Iterator[Commit]:
    """Commits whose entry has this text, newest first. Raises OSError."""
    for version in entries(table) if versions is None else versions:
        try:
            if containing in entry(table, version).read_bytes():
                yield read_commit(table, version)
        except (FileNotFoundError, LogUnavailableError):
            return  # what is older is gone too


def _adder(table: pathlib.Path, file: str) -> Commit | None:
    for commit in commits(table, pathlib.PurePath(file).name.encode()):
        if any(file == added.path for added in (*commit.added, *commit.rewritten)):
            return commit
    return None


def _replaces(commit: Commit, file: str) -> bool:
    """Whether its new files hold what others of the partition held, though it says that data changed: a repair."""
    here = str(pathlib.PurePath(file).parent)
    return any(str(pathlib.PurePath(gone).parent) == here for gone in commit.gone)


def _before(table: pathlib.Path, commit: Commit, file: str, msg_id: str) -> str | None:
    """The file that had the row before this commit rewrote it; None when it is removed."""
    here = str(pathlib.PurePath(file).parent)
    for gone in commit.gone:
        if str(pathlib.PurePath(gone).parent) == here:
            try:
                if holds(table / gone, msg_id):
                    return gone
            except (OSError, pa.ArrowException):
                continue
    return None


def _expired(table: pathlib.Path, file: str) -> str:
    versions = entries(table)
    reach = f"the log reaches back to version {versions[-1]}" if versions else "there is no log entry"
    return f"the log entry of the commit that added {file} has expired, {reach}"
