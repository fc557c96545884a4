"""A lake opened for landing from files: what a resident writer composes at its start, for one run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from deltalake.exceptions import DeltaError
from prometheus_client import CollectorRegistry

from ingest_service.errors import BadDataError, NoPermissionError, StorageError, StorageIoError
from ingest_service.keep.limits import Limits
from ingest_service.keep.metrics import MAINTENANCE_METRICS
from ingest_service.keep.upkeep import LostRaceError, TableUpkeep
from ingest_service.lake.durable import drop_abandoned
from ingest_service.lake.partitions import PartitionCatalog
from ingest_service.lake.recover import LakeDamagedError, check, check_archive, presence, sharing, upkeep
from ingest_service.lake.tables import TABLES, Compression, Lake
from ingest_service.land.checkpoint import is_former
from ingest_service.land.index.index import KeyIndex
from ingest_service.land.lander import Lander
from ingest_service.land.lock import IngestLock
from ingest_service.land.reject import reject_writer
from ingest_service.land.settings import MaskSettings
from ingest_service.registry.prepare import prepare
from millrace_ports.errors import PortError
from millrace_runtime.clock import SYSTEM_CLOCK, Clock
from millrace_runtime.logs import get_logger

log = get_logger(__name__)

DELAYS_S = (1.0, 2.0, 4.0)
"""Pauses before the second, third and fourth attempt to write (LAKE-67)."""

TROUBLES = (PortError, DeltaError, OSError)
"""What a disk that is full or a file that is locked looks like, from whichever layer."""

_T = TypeVar("_T")


class LakeRefusesError(StorageIoError):
    """The lake could not be written, also after the retries: another journal would fare no better."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Clock and sleep of a run, for tests to put others in their place; `lock_wait_s` is for a journal's lock."""

    clock: Clock = SYSTEM_CLOCK
    sleep: Callable[[float], None] = time.sleep
    lock_wait_s: float = 60.0


@dataclass(frozen=True, slots=True)
class LakePlaces:
    """Where a run writes: the lake, what is kept beside it, and the reject journals."""

    parquet: Path
    metadata: Path
    rejected: Path

    @classmethod
    def of(cls, parquet_root: Path, raw: Path) -> LakePlaces:
        """Metadata beside the lake, rejects beside the journals."""
        parquet, raw = parquet_root.expanduser().absolute(), raw.expanduser().absolute()
        beside = raw.parent.parent if is_former(raw) else raw.parent
        return cls(parquet, parquet.parent / "metadata", beside / "rejected")


class Session:
    """A lake with everything to land on it. Used from one thread. `mask`: personal data is hidden before it is
    stored (LAKE-56)."""

    def __init__(self, places: LakePlaces, compression: Compression, timing: Timing, *, mask: bool) -> None:
        self.places = places
        self.mask = mask
        self.timing = timing
        self.lake = Lake(places.parquet, compression)
        self.lock = IngestLock(places.metadata)
        self._lander: Lander | None = None
        metrics = MAINTENANCE_METRICS.build(CollectorRegistry())
        self._upkeep = [
            TableUpkeep(self.lake, name, clock=timing.clock, limits=Limits(), metrics=metrics)
            for name in TABLES
        ]

    @property
    def lander(self) -> Lander:
        """Commits batches; opens the tables when it is first asked for. Raises DeltaError, OSError."""
        if self._lander is None:
            self.lake.root.mkdir(parents=True, exist_ok=True)
            prepare(self.lake, self.places.metadata)
            index = KeyIndex(self.lake.path("messages"), self.places.metadata / "key_index")
            clock = self.timing.clock
            self._lander = Lander(
                self.lake,
                index,
                reject=reject_writer(self.places.rejected, clock.now),
                now_s=lambda: clock.now_ms() // 1000,
            )
        return self._lander

    def persist(self, operation: str, work: Callable[[], _T]) -> _T:
        """Does some writing, again after 1, 2 and 4 s when the disk refuses (LAKE-67).

        `work` must be safe to repeat. Raises LakeRefusesError, NoPermissionError.
        """
        for failures in range(len(DELAYS_S) + 1):
            try:
                return work()
            except StorageError:
                raise  # it has its name already
            except TROUBLES as error:
                why = str(error) or type(error).__name__
                told = {"operation": operation, "error": why, "error_type": type(error).__name__}
                if is_permission(error):
                    raise NoPermissionError(why, operation=operation, source=self.lake.root) from error
                if failures == len(DELAYS_S):
                    log.error("ingest_write_given_up", failures=failures + 1, **told)
                    raise LakeRefusesError(why, operation=operation, source=self.lake.root) from error
                log.warning("ingest_write_failed", failures=failures + 1, **told)
                self.timing.sleep(DELAYS_S[failures])
        raise AssertionError("the last attempt returns or raises")

    def tidy(self) -> None:
        """Merges small files and sums up the log, as maintenance does, where they are too many (LAKE-69)."""
        with upkeep(self.places.metadata):
            for table in self._upkeep:
                try:
                    table.round(lambda: None)
                except (LostRaceError, DeltaError, OSError) as error:
                    # Nothing of the ingest depends on it; whoever comes next does it.
                    log.info("table_upkeep_put_off", error=str(error), error_type=type(error).__name__)
                    table.forget()

    def close(self) -> None:
        """Saves the key index where that helps the next start, and the report of partitions (LAKE-120)."""
        if self._lander is not None:
            try:
                PartitionCatalog(self.lake, self.places.metadata).refresh()
            except (DeltaError, OSError) as error:
                log.warning("partitions_not_recorded", error=str(error))
            try:
                self._lander.close()
            except OSError as error:
                log.warning("key_index_not_saved", error=str(error))


def is_permission(error: BaseException | None) -> bool:
    """Whether rights are missing: no time mends that. The Delta library tells only by its text."""
    if isinstance(error, DeltaError):
        return "Permission denied" in str(error) or "os error 13" in str(error)
    if isinstance(error, PortError):
        return is_permission(error.__cause__)
    return isinstance(error, PermissionError)


@contextlib.contextmanager
def landing_session(
    places: LakePlaces, *, compression: Compression = "snappy", timing: Timing | None = None
) -> Iterator[Session]:
    """A lake to land on until the block is left. What a crash of the host has left broken is taken back first.

    Personal data is stored as MILLRACE_MASK_AT_INGEST says. Raises BadDataError when the lake is damaged beyond
    that, SettingsError, OSError.
    """
    mask = MaskSettings.load().mask_at_ingest
    with presence(places.metadata) as alone:
        if alone:
            drop_abandoned(places.metadata / "key_index")
            try:
                for look in (check, check_archive):
                    for line in look(Lake(places.parquet), places.metadata):
                        log.warning("lake_commits_taken_back", what=line)
            except LakeDamagedError as error:
                raise BadDataError(str(error), source=places.parquet) from error
    with sharing(places.metadata):
        session = Session(places, compression, timing or Timing(), mask=mask)
        try:
            yield session
        finally:
            session.close()
