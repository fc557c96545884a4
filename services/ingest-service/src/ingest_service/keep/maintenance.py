"""The keeper of the lake: one process at a time, under a lease."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import threading
from collections.abc import Callable
from functools import partial

from deltalake.exceptions import DeltaError

from ingest_service.keep.limits import Limits
from ingest_service.keep.upkeep import LeaseGoneError, LostRaceError, TableUpkeep
from ingest_service.lake.partitions import PartitionCatalog
from ingest_service.lake.recover import upkeep
from ingest_service.lake.tables import ARCHIVED, TABLES, Lake, archive_properties
from millrace_ports.coordination import Coordination, CoordinationError, Lease, LeaseLostError
from millrace_runtime.clock import Clock
from millrace_runtime.logs import get_logger
from millrace_runtime.metrics import Metrics, free_bytes

log = get_logger(__name__)

LEASE = "lake-maintenance"


class Maintenance:
    """Rounds of upkeep over all tables, every `interval_s` seconds, while this process holds the lease.

    The lease is kept between rounds and renewed during them, each third of `lease_ttl_s`. When it is
    lost in the middle, the round stops before its next change. Work runs in a thread, one at a time.
    """

    def __init__(
        self,
        lake: Lake,
        *,
        metadata: pathlib.Path,
        coordination: Coordination,
        holder: str,
        clock: Clock,
        metrics: Metrics,
        limits: Limits | None = None,
        interval_s: float = 2.0,
        lease_ttl_s: float = 15.0,
    ) -> None:
        self._metadata = metadata
        self._coordination = coordination
        self._holder = holder
        self._interval_s = interval_s
        self._ttl_s = lease_ttl_s
        limits = limits or Limits()
        self._tables = {
            name: TableUpkeep(lake, name, clock=clock, limits=limits, metrics=metrics) for name in TABLES
        }
        for name in ARCHIVED:
            label = f"archive/{name}"
            self._tables[label] = TableUpkeep(
                lake.archive, name, clock=clock, limits=limits, metrics=metrics,
                properties=archive_properties(name), label=label,
            )  # fmt: skip
        self._catalog = PartitionCatalog(lake, metadata)
        self._catalogued: dict[str, int] = {}
        self._held = metrics.gauge("millrace_maintenance_lease_held")
        self._failures = metrics.counter("millrace_maintenance_failures")
        self._round_at = metrics.gauge("millrace_maintenance_round_timestamp")
        self._clock = clock
        metrics.gauge("millrace_lake_free_bytes").set_function(partial(free_bytes, lake.root))
        self._lease: Lease | None = None
        self._troubles: tuple[str, ...] = ()

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the lake until `stop` is set; the lease is given up at the end."""
        try:
            while not stop.is_set():
                await self.step()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), self._interval_s)
        finally:
            await self._give_up()

    async def step(self) -> bool:
        """Take or renew the lease and do one round; whether this process was the one to do it."""
        try:
            self._lease = await self._hold()
        except CoordinationError as error:
            log.warning("maintenance_lease_unavailable", error=str(error))
            self._troubles = (str(error),)
            self._lease = None
        self._held.set(self._lease is not None)
        if self._lease is None:
            return False
        lost = threading.Event()
        work = asyncio.create_task(asyncio.to_thread(self._round, lost))
        try:
            while not (await asyncio.wait({work}, timeout=self._ttl_s / 3))[0]:
                await self._renew(lost)
        finally:
            lost.set()  # cancelled: a thread cannot be interrupted, but it ends before its next change
            self._troubles = await asyncio.shield(work)
        if self._lease is not None and not self._troubles:
            self._round_at.set(self._clock.now_ms() / 1000)
        return True

    async def check(self) -> None:
        """For readiness: raises, saying why, when the latest round could not do its work."""
        if self._troubles:
            raise RuntimeError("; ".join(self._troubles))

    async def _hold(self) -> Lease | None:
        if self._lease is not None:
            try:
                return await self._coordination.renew(self._lease)
            except LeaseLostError as error:
                log.warning("maintenance_lease_lost", error=str(error))
        lease = await self._coordination.acquire(LEASE, self._ttl_s, self._holder)
        if lease is not None:
            log.info("maintenance_lease_taken", holder=self._holder, token=lease.token)
            for table in self._tables.values():
                table.forget()
        return lease

    async def _renew(self, lost: threading.Event) -> None:
        """Renew during a round; failing that, stop the round and let the lease run out."""
        if self._lease is None:
            return
        try:
            self._lease = await self._coordination.renew(self._lease)
        except CoordinationError as error:
            log.warning("maintenance_lease_lost", error=str(error))
            self._lease = None
            self._held.set(0)
            lost.set()

    async def _give_up(self) -> None:
        lease, self._lease = self._lease, None
        self._held.set(0)
        if lease is not None:
            try:
                await self._coordination.release(lease)
            except CoordinationError as error:
                log.warning("maintenance_lease_not_released", error=str(error))  # it runs out by itself

    def _round(self, lost: threading.Event) -> tuple[str, ...]:
        """One round over all tables; what went wrong, one line per table. Runs in a thread."""

        def check() -> None:
            if lost.is_set():
                raise LeaseGoneError

        with upkeep(self._metadata):
            return (*self._round_of_tables(check), *self._record())

    def _record(self) -> tuple[str, ...]:
        """Keep the report of partitions level with the tables; what went wrong."""
        versions = {name: table.version for name, table in self._tables.items()}
        if versions == self._catalogued:
            return ()
        try:
            self._catalog.refresh()
        except (DeltaError, OSError) as error:
            log.warning("partitions_not_recorded", error=str(error))
            return (f"partitions: {error}",)
        self._catalogued = versions
        return ()

    def _round_of_tables(self, check: Callable[[], None]) -> tuple[str, ...]:
        troubles = []
        for name, table in self._tables.items():
            try:
                table.round(check)
            except LeaseGoneError:
                break
            except LostRaceError:
                table.forget()  # nothing is wrong; the next round looks again
            except (DeltaError, OSError) as error:
                # Another table may be fine, and this one after the disk has space again.
                self._failures.labels(table=name).inc()
                log.error(
                    "table_upkeep_failed", table=name, error=str(error), error_type=type(error).__name__
                )
                troubles.append(f"{name}: {error}")
                table.forget()
        return tuple(troubles)
