"""The resident lake writer: polls the bus, builds batches, commits them one after the other.

While one batch is being committed the next one is read and built: decoding holds the interpreter,
writing Parquet does not. Several writers may share the partitions of a topic, on one host or on many:
each commits what it was given, and the compare-and-swap of the lander drops what another one was faster at.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import pathlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import ParamSpec, TypeVar

from deltalake.exceptions import DeltaError

from ingest_service.lake.tables import Lake
from ingest_service.land.authority import LandingPositions
from ingest_service.land.batch import Batch, Counts, build
from ingest_service.land.held import LostRaceError
from ingest_service.land.lander import Lander
from ingest_service.land.lock import IngestLock
from ingest_service.land.lost import advice, losses
from ingest_service.land.observe import Observer
from ingest_service.land.positions import GROUP
from ingest_service.land.reporter import Reporter
from ingest_service.land.reports import Checkpoints
from ingest_service.land.trace import LandingTraces
from ingest_service.land.unwrap import Unwrap, no_objects
from millrace_ports.bus.port import Bus, Chunk, Partition
from millrace_ports.errors import (
    ConfigurationError,
    PortError,
    PositionError,
    RecordsLostError,
    TopicMissingError,
)
from millrace_runtime.clock import Clock
from millrace_runtime.logs import get_logger
from millrace_runtime.metrics import Metrics
from millrace_runtime.process import CannotGoOnError
from millrace_runtime.settings import SettingsError
from millrace_runtime.tracing import Tracer
from millrace_schemas import topics

TOPIC = "webhook.messages"

_POLL_S = 0.1
_TRIES_BEFORE_FAILED = 3
_LONGEST_PAUSE_S = 30.0

# What goes away by itself: a disk that is full, a file that is locked, a broker that is down.
_TROUBLES = (PortError, DeltaError, OSError)

log = get_logger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")


class LakeWriter:
    """Lands a topic until it is told to stop.

    Args:
        bus: where records come from and commit hints go.
        lander: commits the batches.
        lake, metadata: the tables, and the directory of reports and locks.
        checkpoints: progress files, written behind a sync of the lake.
        max_rows, max_bytes, interval_s: a batch ends at the first of these.
        unwrap: opens records that are no payloads themselves.
        mask: hides personal data before it is stored.
        past_loss: partition name -> number to go on after, where what was before is lost and given up.
        tracer: of this service, for the sampled records.
    """

    def __init__(
        self,
        bus: Bus,
        lander: Lander,
        *,
        lake: Lake,
        metadata: pathlib.Path,
        checkpoints: Checkpoints,
        clock: Clock,
        metrics: Metrics,
        max_rows: int,
        max_bytes: int,
        interval_s: float,
        unwrap: Unwrap = no_objects,
        mask: bool = False,
        past_loss: Mapping[str, int] | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._bus = bus
        self._lander = lander
        self._clock = clock
        self._max_rows, self._max_bytes, self._interval_s = max_rows, max_bytes, interval_s
        self._unwrap, self._mask = unwrap, mask
        # The lander belongs to one thread; batches are built in another.
        self._landing = concurrent.futures.ThreadPoolExecutor(1, "land")
        self._building = concurrent.futures.ThreadPoolExecutor(1, "build")
        self._lock = IngestLock(metadata)
        self._positions = LandingPositions(lander, self._landing, past_loss or {}, checkpoints.begun)
        self._traces = None if tracer is None else LandingTraces(tracer)
        self._consumer = bus.consumer(TOPIC, GROUP, self._positions, traced=tracer is not None)
        self._observer = Observer(metrics)
        self._reporter = Reporter(
            bus, self._consumer, lander, checkpoints, self._observer,
            lake=lake, metadata=metadata, clock=clock, executor=self._landing,
        )  # fmt: skip
        self._stop = asyncio.Event()
        self._under_way: asyncio.Task[Collection[Partition]] | None = None
        self._bus_in_trouble = False
        self._failures = 0
        self._trouble = ""

    @property
    def totals(self) -> Counts:
        """LAKE-61's sums since the start of this process."""
        return self._observer.totals

    async def check(self) -> None:
        """For readiness: raises, saying why, while batches cannot be written."""
        if self._trouble:
            raise RuntimeError(self._trouble)

    async def run(self, stop: asyncio.Event) -> None:
        """Lands until `stop` is set; the batch in progress is finished and reported.

        Raises CannotGoOnError when records are lost, SettingsError when the bus refuses us for good.
        """
        self._stop = stop
        try:
            while not stop.is_set():
                if chunks := await self._poll():
                    await self._follow(chunks)
                else:
                    await self._settled()
                await self._report()
        finally:
            await self._settled()
            await self._report(now=True)
            await self._in(self._landing, self._lander.close)
            await self._consumer.close()
            self._landing.shutdown()
            # Not waited for: it may be waiting for this loop to read it a body.
            self._building.shutdown(wait=False, cancel_futures=True)

    async def _poll(self) -> list[Chunk]:
        try:
            chunks = await self._consumer.poll(
                max_records=self._max_rows, max_bytes=self._max_bytes, timeout_s=_POLL_S
            )
        except RecordsLostError as error:
            raise CannotGoOnError(await self._advice(error)) from error
        except PositionError as error:
            raise CannotGoOnError(f"MILLRACE_BUS: {error}: it has lost what it had called durable") from error
        except ConfigurationError as error:
            raise SettingsError(str(error)) from error
        except TopicMissingError as error:
            await self._without_topic(error)
            return []
        except _TROUBLES as error:
            self._bus_in_trouble = True
            await self._wait_out("bus_poll_failed", error, [])
            return []
        if chunks:
            self._bus_answers()
        return chunks

    async def _without_topic(self, missing: TopicMissingError) -> None:
        """Makes the topic on a fresh installation; one that was removed since is for whoever removed it."""
        try:
            # An empty poll says nothing: it may have ended while the bus was still being asked.
            if self._positions.asked:
                raise missing
            await self._bus.ensure_topics([topics.load(TOPIC)])
        except ConfigurationError as error:
            raise SettingsError(str(error)) from error
        except _TROUBLES as error:
            self._bus_in_trouble = True
            await self._wait_out("topic_missing", error, [])

    async def _advice(self, error: RecordsLostError) -> str:
        """What was lost and what to do, once the records that came before are landed."""
        await self._settled()
        found = await losses(TOPIC, error, self._consumer, self._positions, self._clock)
        log.error("records_lost", losses=[dataclasses.asdict(loss) for loss in found])
        return advice(TOPIC, found)

    async def _follow(self, chunks: list[Chunk]) -> None:
        """Builds the next batch and commits it behind the one under way."""
        if self._traces is not None:
            self._traces.begin(chunks)
        batch: Batch | None
        try:
            batch = await self._build(chunks)
        except PortError as error:
            await self._settled()
            await self._drop("payload_not_readable", error, chunks)
            return
        if dropped := await self._settled():
            chunks, batch = await self._without(chunks, dropped)
        if batch is not None:
            started = self._clock.monotonic()
            self._under_way = asyncio.create_task(self._commit(chunks, batch))
            await self._gather(started, chunks)

    async def _build(self, chunks: list[Chunk]) -> Batch:
        return await self._in(
            self._building,
            build,
            chunks,
            ingested_at_s=self._clock.now_ms() // 1000,
            unwrap=self._unwrap,
            mask=self._mask,
        )

    async def _without(
        self, chunks: list[Chunk], dropped: Collection[Partition]
    ) -> tuple[list[Chunk], Batch | None]:
        """The chunks of other partitions, built again, and these set back: they follow what is read again."""
        await self._reset({chunk.partition for chunk in chunks} & set(dropped))
        kept = [chunk for chunk in chunks if chunk.partition not in dropped]
        if not kept:
            return [], None
        try:
            return kept, await self._build(kept)
        except PortError as error:
            await self._drop("payload_not_readable", error, kept)
            return [], None

    async def _settled(self) -> Collection[Partition]:
        """Waits for the batch under way; the partitions whose records it has dropped."""
        under_way, self._under_way = self._under_way, None
        return frozenset() if under_way is None else await under_way

    async def _gather(self, started: float, chunks: Sequence[Chunk]) -> None:
        """Lets a batch that is not full be followed by a fuller one."""
        full = sum(len(chunk.values) for chunk in chunks) >= self._max_rows // 2
        if not full:
            await self._sleep(started + self._interval_s - self._clock.monotonic())

    async def _commit(self, chunks: list[Chunk], batch: Batch | None) -> Collection[Partition]:
        """Lands one batch; the partitions whose records were dropped, and are read again."""
        dropped: set[Partition] = set()
        while batch is not None:
            ours = {chunk.partition for chunk in chunks}
            try:
                # A read line's number must not go to another payload after a power cut.
                await self._consumer.ensure_durable(chunks)
                began_ns = time.time_ns()
                with self._observer.commit_seconds.time():
                    counts = await self._in(self._landing, self._land, batch)
            except LostRaceError as error:
                self._observer.lost_race()
                log.info("batch_lost_race", reason=str(error))
                # Another writer has moved some positions; the rest of the batch is as good as it was.
                lost = error.partitions or ours
                dropped |= lost
                chunks, batch = await self._without(chunks, lost)
            except _TROUBLES as error:
                await self._drop("batch_failed", error, chunks)
                return dropped | ours
            else:
                self._landed(batch, counts, began_ns)
                return dropped
        return dropped

    def _land(self, batch: Batch) -> Counts:
        with self._lock.held():
            return self._lander.commit(batch)

    def _landed(self, batch: Batch, counts: Counts, began_ns: int) -> None:
        self._mended()
        self._reporter.landed(batch)
        self._observer.landed(batch, counts, index_size=self._lander.index_size, now_ms=self._clock.now_ms())
        if self._traces is not None:
            version = self._lander.versions()["messages"]
            self._traces.landed(batch.spans, commit_began_ns=began_ns, version=version, lines=counts.lines)
        log.debug("batch_landed", **dataclasses.asdict(counts))

    def _mended(self) -> None:
        self._failures, self._trouble, self._bus_in_trouble = 0, "", False

    def _bus_answers(self) -> None:
        """The bus has said something. An empty poll does not: it may have ended while the bus was being asked."""
        if self._bus_in_trouble:
            self._mended()

    async def _drop(self, event: str, error: Exception, chunks: Sequence[Chunk]) -> None:
        """Waits the trouble out, then has the records read again."""
        partitions = {chunk.partition for chunk in chunks}
        await self._wait_out(event, error, list(partitions))
        await self._reset(partitions)

    async def _wait_out(self, event: str, error: Exception, partitions: list[Partition]) -> None:
        """Logs, counts, and waits longer each time: 1, 2, 4, … 30 s (LAKE-67). Heals by itself."""
        self._failures += 1
        self._observer.failed()
        self._trouble = f"landing fails: {error}"
        log.warning(event, error=str(error), error_type=type(error).__name__, failures=self._failures)
        if self._failures >= _TRIES_BEFORE_FAILED and partitions:
            self._reporter.failed(partitions, str(error))
            await self._report(now=True)
        await self._sleep(min(2.0 ** (self._failures - 1), _LONGEST_PAUSE_S))

    async def _sleep(self, seconds: float) -> None:
        """Waits, but not beyond the stop."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), seconds)

    async def _reset(self, partitions: Collection[Partition]) -> None:
        if self._traces is not None:
            self._traces.forget(partitions)
        for partition in partitions:
            await self._consumer.reset(partition)

    async def _report(self, *, now: bool = False) -> None:
        try:
            if await self._reporter.report(now=now):
                self._bus_answers()
        except _TROUBLES as error:
            log.warning("report_failed", error=str(error), error_type=type(error).__name__)

    @staticmethod
    async def _in(
        executor: concurrent.futures.Executor, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        return await asyncio.get_running_loop().run_in_executor(executor, lambda: work(*args, **kwargs))
