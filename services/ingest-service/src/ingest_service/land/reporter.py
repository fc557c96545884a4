"""Once a second the lake is synced, and reports of how far it is follow: checkpoints, offsets, the commit hint."""

from __future__ import annotations

import asyncio
import concurrent.futures
import pathlib
from collections.abc import Mapping, Sequence

import msgspec

from ingest_service.lake.partitions import PartitionCatalog
from ingest_service.lake.recover import mark_durable
from ingest_service.lake.tables import Lake
from ingest_service.land.batch import Batch
from ingest_service.land.lander import Lander
from ingest_service.land.observe import Observer
from ingest_service.land.reports import Checkpoints
from millrace_ports.bus.port import Bus, Consumer, Partition, Record
from millrace_ports.errors import TopicMissingError
from millrace_runtime.clock import Clock
from millrace_runtime.crash import crash_point
from millrace_schemas import topics

COMMITS_TOPIC = "lake.commits"
_EVERY_S = 1.0
_CATALOG_SHARE = 0.02
"""Of the landing thread's time, for the report of partitions: a lake of very many files has it less often."""


class Reporter:
    """What others see of landing; never the authority.

    Args:
        lake, metadata: the tables, and the directory of reports.
        executor: the thread that the lander belongs to.
    """

    def __init__(
        self,
        bus: Bus,
        consumer: Consumer,
        lander: Lander,
        checkpoints: Checkpoints,
        observer: Observer,
        *,
        lake: Lake,
        metadata: pathlib.Path,
        clock: Clock,
        executor: concurrent.futures.Executor,
    ) -> None:
        self._bus = bus
        self._consumer = consumer
        self._lander = lander
        self._checkpoints = checkpoints
        self._observer = observer
        self._lake = lake
        self._metadata = metadata
        self._clock = clock
        self._executor = executor
        self._unreported = True
        self._reported_at = 0.0
        self._catalog = PartitionCatalog(lake, metadata)
        self._catalog_due = 0.0

    def landed(self, batch: Batch) -> None:
        """A batch is in the lake."""
        self._checkpoints.landed(batch)
        self._unreported = True

    def failed(self, partitions: Sequence[Partition], why: str) -> None:
        """Records of these partitions cannot be landed so far."""
        self._checkpoints.failed(list(partitions), why)
        self._unreported = True

    async def report(self, *, now: bool = False) -> bool:
        """Syncs and reports when a second has passed, or `now`; whether the bus has told of any partition.

        Raises PortError, DeltaError, OSError.
        """
        moment = self._clock.monotonic()
        if not now and moment - self._reported_at < _EVERY_S:
            return False
        self._reported_at = moment
        lag = await self._consumer.lag()
        self._observer.lag(lag)
        if self._unreported:
            # What lands from here on is news for the next report, whatever becomes of this one.
            self._unreported = False
            try:
                late = await self._report_all(lag, late=not now and moment < self._catalog_due)
            except BaseException:
                self._unreported = True
                raise
            # A journal is completed when nothing is left of it: look again while there is.
            self._unreported = self._unreported or late or any(lag.values())
        return bool(lag)

    async def _report_all(self, lag: Mapping[Partition, int], *, late: bool) -> bool:
        """Everything that is to be told; the report of partitions not when it is to come `late`, which is returned."""
        loop = asyncio.get_running_loop()
        positions = await loop.run_in_executor(self._executor, self._write, lag)
        await self._consumer.report(positions)
        await self._publish_hint()
        if not late:
            await loop.run_in_executor(self._executor, self._catalogue)
        return late

    async def _publish_hint(self) -> None:
        hint = Record(
            msgspec.json.encode(
                {
                    "table": "messages",
                    "version": self._lander.versions()["messages"],
                    "rows": self._observer.totals.messages,
                    "committed_at_ms": self._clock.now_ms(),
                }
            )
        )
        try:
            await self._bus.publish(COMMITS_TOPIC, [hint])
        except TopicMissingError:
            await self._bus.ensure_topics([topics.load(COMMITS_TOPIC)])
            await self._bus.publish(COMMITS_TOPIC, [hint])

    def _write(self, lag: Mapping[Partition, int]) -> dict[Partition, int]:
        self._checkpoints.gather(self._lander.standing)
        mark_durable(self._lake, self._metadata, self._lander.versions())
        crash_point("AFTER_SYNC_BEFORE_CHECKPOINT")
        return self._checkpoints.write(lag, self._clock.now(), self._lander.standing)

    def _catalogue(self) -> None:
        began = self._clock.monotonic()
        self._catalog.refresh()
        ended = self._clock.monotonic()
        self._catalog_due = ended + (ended - began) / _CATALOG_SHARE
