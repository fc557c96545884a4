"""After a crash of the host: files that the Delta library wrote may be short or missing (it never syncs).

While landing runs, the tables' versions are marked durable behind a syncfs; journals are cleaned up and
checkpoints move only behind that mark. On start the commits after the mark are checked, and a table with a
bad one is taken back to the commit before it: positions go back with it, so the lines land again.
"""

from __future__ import annotations

import contextlib
import fcntl
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import IO

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from ingest_service.lake.durable import sync_directory, sync_file_system, write_durably
from ingest_service.lake.log import AddedFile, LogUnavailableError, entry, read_commit
from ingest_service.lake.tables import TABLES, Lake

MARK = "durable.json"
ARCHIVE_MARK = "archive_durable.json"


class LakeDamagedError(Exception):
    """A table is damaged in a way that taking back commits does not heal; the text says what to do."""


_LANDERS = ".landers.lock"
_KEEPER = ".keeper.lock"
_RETRY_S = 0.05


@contextlib.contextmanager
def presence(metadata: pathlib.Path, *, patience_s: float = 10.0) -> Iterator[bool]:
    """Yields whether no other process commits to the lake now, and so commits may be taken back.

    Landing processes are there or not; a round of maintenance is waited for, but not for ever.
    """
    metadata.mkdir(parents=True, exist_ok=True)
    with (metadata / _LANDERS).open("a") as landers, (metadata / _KEEPER).open("a") as keeper:
        yield _taken(landers, 0) and _taken(keeper, patience_s)


@contextlib.contextmanager
def sharing(metadata: pathlib.Path) -> Iterator[None]:
    """Held while a process lands: nobody takes commits back meanwhile."""
    with (metadata / _LANDERS).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextlib.contextmanager
def upkeep(metadata: pathlib.Path) -> Iterator[None]:
    """Held during a round of maintenance: nobody takes commits back meanwhile."""
    metadata.mkdir(parents=True, exist_ok=True)
    with (metadata / _KEEPER).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def _taken(file: IO[str], patience_s: float) -> bool:
    """Takes the lock exclusively until the file is closed."""
    end = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(_RETRY_S)
        else:
            return True


def mark_durable(lake: Lake, metadata: pathlib.Path, versions: Mapping[str, int]) -> None:
    """syncfs, then records these table versions as safe from a power cut.

    `versions` must have been read before this call, messages first.
    """
    sync_file_system(lake.root)
    write_durably(metadata / MARK, [msgspec.json.encode(dict(versions))])


def mark_archive_durable(lake: Lake, metadata: pathlib.Path, name: str, version: int) -> None:
    """The same for one archived table, by the process that archives: nothing leaves the lake before."""
    sync_file_system(lake.archive_root)
    mark = marked(metadata, ARCHIVE_MARK)
    write_durably(metadata / ARCHIVE_MARK, [msgspec.json.encode(mark | {name: version})])


def marked(metadata: pathlib.Path, name: str = MARK) -> dict[str, int]:
    """The recorded versions; none (everything is checked) when there is no readable mark."""
    try:
        return msgspec.json.decode((metadata / name).read_bytes(), type=dict[str, int])
    except (OSError, msgspec.DecodeError):
        return {}


def check(lake: Lake, metadata: pathlib.Path) -> list[str]:
    """Takes back commits after the mark whose log entry or files are bad; says what it did, table by table.

    Raises:
        LakeDamagedError: the commits before do not stand alone any more.
    """
    mark = marked(metadata)
    bad = {
        name: version
        for name in TABLES
        if (version := _first_bad(lake.path(name), mark.get(name, -1) + 1)) is not None
    }
    if not bad:
        return []
    if bad.keys() != {"messages"}:
        # A side table that loses rows needs its lines again, so the positions go back as far as is safe, even
        # when messages has a bad commit of its own: the side table's may be of an earlier batch.
        bad["messages"] = mark.get("messages", -1) + 1
    order = ("messages", *(table for table in bad if table != "messages"))
    taken = {
        name: _take_back(lake.path(name), bad[name], metadata / "quarantine" / name)
        for name in order
        if name in bad
    }
    return [
        f"{name}: took back {count} commits from version {bad[name]} on"
        for name, count in taken.items()
        if count
    ]


def check_archive(lake: Lake, metadata: pathlib.Path) -> list[str]:
    """Takes back commits of the archive after its mark that are bad: what they held is in the lake still, since a day
    leaves it behind a sync of the archive. Says what it did. Raises LakeDamagedError."""
    mark = marked(metadata, ARCHIVE_MARK)
    said = []
    for name in TABLES:
        table = lake.archive.path(name)
        bad = _first_bad(table, mark.get(name, -1) + 1)
        if bad is not None and (count := _take_back(table, bad, metadata / "quarantine" / f"archive-{name}")):
            said.append(f"archive/{name}: took back {count} commits from version {bad} on")
    return said


def _entries(table: pathlib.Path) -> dict[int, pathlib.Path]:
    log = table / "_delta_log"
    if not log.is_dir():
        return {}
    return {int(path.stem): path for path in log.glob("*.json") if path.stem.isdigit()}


def _first_bad(table: pathlib.Path, start: int) -> int | None:
    """The first version from `start` on whose entry or files are not whole."""
    for version in sorted(v for v in _entries(table) if v >= start):
        try:
            commit = read_commit(table, version)
        except LogUnavailableError:
            return version
        if not all(_whole(table, file, version) for file in (*commit.added, *commit.rewritten)):
            return version
    return None


def _whole(table: pathlib.Path, file: AddedFile, version: int) -> bool:
    path = table / file.path
    try:
        if path.stat().st_size != file.size:
            return False
        with pa.OSFile(str(path)) as source:
            pq.read_metadata(source)
    except FileNotFoundError:
        # Rewritten by a later compaction and vacuumed: only a live file must be there.
        return not _live(table, file, version)
    except (pa.ArrowInvalid, OSError):
        return False
    return True


def _live(table: pathlib.Path, file: AddedFile, version: int) -> bool:
    """Whether no later commit removed the file."""
    return not any(
        f'"path":"{file.path}"'.encode() in line
        for later, path in _entries(table).items()
        if later > version
        for line in path.read_bytes().splitlines()
        if line.startswith(b'{"remove"')
    )


def _take_back(table: pathlib.Path, version: int, quarantine: pathlib.Path) -> int:
    """Moves the log from `version` on aside, newest first, so that a crash in between leaves a prefix."""
    entries = _entries(table)
    taken = sorted((v for v in entries if v >= version), reverse=True)
    if not taken:
        return 0
    log = table / "_delta_log"
    if version < min(entries):
        raise LakeDamagedError(
            f"{table}: commits are damaged, it is not known which ones are whole ({MARK} is missing), and the log "
            f"begins at {min(entries)}. Restore the data directory from a copy, or remove the lake and land the "
            "journals again."
        )
    quarantine.mkdir(parents=True, exist_ok=True)
    for path in log.glob("*.checkpoint*.parquet"):
        if int(path.name.split(".")[0]) >= version:
            path.replace(quarantine / path.name)
    (log / "_last_checkpoint").unlink(missing_ok=True)
    for number in taken:
        entries[number].replace(quarantine / entries[number].name)
    sync_directory(log)
    if version > 0 and not entry(table, version - 1).exists() and not any(log.glob("*.checkpoint*.parquet")):
        raise LakeDamagedError(
            f"{table}: commit {version} is damaged and the log before it is gone; the entries are in {quarantine}. "
            "Restore the table from a copy, or remove it and land the journals again."
        )
    return len(taken)
