"""Removing data files that no version needs, and never anything else.

The library's own full vacuum also deletes what it does not know: a README, a foreign Parquet file, an
empty file that tells of a crash. So it is asked for a list only, and the list is sorted here:

- *superseded*: the log says that a compaction or merge replaced the file, longer ago than the grace;
- *orphan*: named like a data file, not empty, old enough, and the log never had it: what the loser of a
  commit race, or a writer killed before its commit, leaves behind;
- *unknown*: everything else. It is reported and stays.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Callable
from typing import Final

from deltalake import DeltaTable

from ingest_service.keep.limits import Limits
from ingest_service.lake.durable import sync_file_system
from millrace_runtime.clock import Clock
from millrace_runtime.crash import crash_point
from millrace_runtime.logs import get_logger

log = get_logger(__name__)

_DATA_FILE: Final = re.compile(
    r"year=\d{4}/month=\d{2}/day=\d{2}/part-\d+-[0-9a-f-]{36}-c\d+(\.\w+)?\.parquet"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Unneeded:
    """Files below a table that its current version does not need, by path relative to the table."""

    superseded: frozenset[str]
    orphans: frozenset[str]
    unknown: frozenset[str]


def unneeded(table: DeltaTable, path: pathlib.Path, grace_hours: int) -> Unneeded:
    """Look at the log and at the whole directory; nothing is changed."""
    present = _listed(table, path, grace_hours, full=True)
    superseded = _listed(table, path, grace_hours, full=False)
    strangers = present - superseded
    orphans = frozenset(name for name in strangers if _DATA_FILE.fullmatch(name) and _size(path / name) > 0)
    return Unneeded(superseded, orphans, strangers - orphans)


class Vacuum:
    """Removes the unneeded files of one table.

    Age alone does not make an orphan: while the host sleeps, the wall clock goes on and a writer between
    its file and its commit stands still. On waking both continue, and the file looks old although its
    commit is about to come. So an orphan goes only after it was also *seen* here as an orphan for the
    whole grace on the monotonic clock, which stands still with the host.
    """

    def __init__(self, path: pathlib.Path, clock: Clock, limits: Limits) -> None:
        self._path = path
        self._clock = clock
        self._limits = limits
        self._first_seen: dict[str, float] = {}
        self._reported: frozenset[str] = frozenset()

    @property
    def unknown_files(self) -> int:
        """How many unknown files the latest run found."""
        return len(self._reported)

    def run(self, table: DeltaTable, check: Callable[[], None]) -> int:
        """Remove what may go and return how many files went. `check` raises when the lease is lost.

        The directories stay: a writer may be about to put a file there.
        """
        found = unneeded(table, self._path, self._limits.grace_hours)
        self._report(found.unknown)
        going = sorted(found.superseded | self._aged(found.orphans))
        if not going:
            return 0
        # What replaces the superseded files has to be on disk before they go.
        sync_file_system(self._path)
        for name in going:
            check()
            (self._path / name).unlink(missing_ok=True)
            crash_point("DURING_VACUUM")
        log.info(
            "unneeded_files_removed",
            table=self._path.name,
            superseded=len(found.superseded),
            orphans=[name for name in going if name in found.orphans],
        )
        return len(going)

    def _aged(self, orphans: frozenset[str]) -> frozenset[str]:
        now = self._clock.monotonic()
        self._first_seen = {name: self._first_seen.get(name, now) for name in orphans}
        grace_s = self._limits.grace_hours * 3600
        return frozenset(name for name, seen in self._first_seen.items() if now - seen >= grace_s)

    def _report(self, unknown: frozenset[str]) -> None:
        """Log each unknown file once; again when it went and came back."""
        for name in sorted(unknown - self._reported):
            log.warning(
                "unknown_file_in_lake", table=self._path.name, path=name, bytes=_size(self._path / name)
            )
        self._reported = unknown


def _listed(table: DeltaTable, path: pathlib.Path, grace_hours: int, *, full: bool) -> frozenset[str]:
    names = table.vacuum(
        retention_hours=grace_hours, dry_run=True, enforce_retention_duration=False, full=full
    )
    # Files that are gone already are listed until their entry leaves the log.
    return frozenset(name for name in names if (path / name).is_file())


def _size(path: pathlib.Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
