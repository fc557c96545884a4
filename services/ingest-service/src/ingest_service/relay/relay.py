"""The relay of one door: reads its journals, publishes, and remembers how far it has come.

While one batch is on its way to the bus the next one is read, made durable and turned into records.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Mapping, Sequence

from ingest_service.relay.observe import RelayObserver
from ingest_service.relay.persist import Persistence, StoppedError
from ingest_service.relay.positions import Place, RelayPositions
from ingest_service.relay.publish import TOPIC, Publisher
from ingest_service.relay.records import records_of
from ingest_service.relay.trace import follow
from millrace_ports.bus.port import Chunk, Consumer, Partition, Record
from millrace_ports.errors import PortError
from millrace_runtime.clock import Clock
from millrace_runtime.crash import crash_point
from millrace_runtime.logs import get_logger
from millrace_runtime.tracing import Span, Tracer

log = get_logger(__name__)

GROUP = "relay"

_POLL_S = 0.1
_SAVE_EVERY_S = 0.2
_REPORT_EVERY_S = 1.0
_LAST_PUBLISH_S = 5.0


@dataclasses.dataclass(frozen=True, slots=True)
class _Batch:
    """Records of consecutive lines, and where the relay stands when the bus has them."""

    records: list[Record]
    ends: dict[Partition, Place]
    lines: int
    elements: int
    newest_received_at_ms: int
    spans: Sequence[Span]


class Relay:
    """Relays until it is told to stop.

    Args:
        consumer: reads the journals from where `positions` says.
        publisher: gets records onto the bus.
        persistence: what `publisher` repeats with, for readiness and for reading.
        max_records, max_bytes: a batch ends at the first of these.
        tracer: of this service; the consumer tells trace contexts then.
    """

    def __init__(
        self,
        consumer: Consumer,
        publisher: Publisher,
        positions: RelayPositions,
        persistence: Persistence,
        observer: RelayObserver,
        *,
        clock: Clock,
        max_records: int,
        max_bytes: int,
        tracer: Tracer | None = None,
    ) -> None:
        self._consumer = consumer
        self._publisher = publisher
        self._positions = positions
        self._persistence = persistence
        self._observer = observer
        self._clock = clock
        self._max_records, self._max_bytes = max_records, max_bytes
        self._tracer = tracer
        self._under_way: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._in_hand: dict[Partition, Place] = {}
        self._stop = asyncio.Event()
        self._unreported = True
        self._saved_at = self._reported_at = 0.0

    async def check(self) -> None:
        """For readiness: raises, saying why, while lines cannot be relayed."""
        if trouble := self._persistence.trouble():
            raise RuntimeError(trouble)

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until `stop` is set; the batch under way then has five seconds, and is repeated if it fails."""
        self._stop = stop
        log.info("relay_started")
        try:
            with contextlib.suppress(StoppedError):
                while not stop.is_set():
                    if batch := await self._next_batch():
                        await self._follow(batch)
                    await self._keep_books()
        finally:
            await self._end()

    async def _next_batch(self) -> _Batch | None:
        chunks = await self._persistence.until_done("read", self._poll)
        if not chunks:
            return None
        epochs = {chunk.partition: self._positions.place(chunk.partition).epoch for chunk in chunks}
        ends = {chunk.partition: Place(chunk.end, epochs[chunk.partition]) for chunk in chunks}
        self._in_hand |= ends
        spans: Sequence[Span] = ()
        if self._tracer is not None:
            chunks, spans = follow(self._tracer, chunks, epochs)
        # Durable before it is published: after a power cut a line's number must not go to another payload,
        # for its origin would be on the bus already.
        made, durable = await asyncio.gather(
            asyncio.to_thread(records_of, chunks, epochs), self._durable(chunks)
        )
        if not durable:
            return None
        records = await self._publisher.sendable(made.records)
        crash_point("AFTER_READ_BEFORE_PUBLISH")
        return _Batch(
            records,
            ends,
            lines=sum(len(chunk.values) for chunk in chunks),
            elements=made.elements,
            newest_received_at_ms=max(chunk.received_at_ms[-1] for chunk in chunks),
            spans=spans,
        )

    async def _poll(self) -> list[Chunk]:
        return await self._consumer.poll(
            max_records=self._max_records, max_bytes=self._max_bytes, timeout_s=_POLL_S
        )

    async def _durable(self, chunks: Sequence[Chunk]) -> bool:
        """Whether the lines of `chunks` cannot be lost; False when they are to be read again."""
        try:
            await self._consumer.ensure_durable(chunks)
        except PortError as error:
            self._observer.failed("sync")
            log.warning("journal_not_durable", error=str(error))
        else:
            return True
        await self._wait_for_publish()
        for partition in {chunk.partition for chunk in chunks}:
            await self._consumer.reset(partition)
            self._in_hand[partition] = self._positions.place(partition)
        await asyncio.sleep(_POLL_S)
        return False

    async def _follow(self, batch: _Batch) -> None:
        """Publish `batch` behind the one under way."""
        await self._wait_for_publish()
        self._under_way = asyncio.create_task(self._publish(batch))

    async def _publish(self, batch: _Batch) -> None:
        if begun := [partition for partition in batch.ends if not self._positions.place(partition).line]:
            topic = await self._publisher.topic_id()
            for partition in begun:
                self._positions.begin(partition, topic)
        await self._publisher.publish(batch.records)
        for span in batch.spans:
            span.end()
        crash_point("AFTER_PUBLISH_BEFORE_POSITION")
        self._positions.take(batch.ends)
        self._unreported = True
        self._observer.relayed(
            lines=batch.lines, elements=batch.elements, newest_received_at_ms=batch.newest_received_at_ms
        )

    async def _wait_for_publish(self) -> None:
        """Return when nothing is under way, the books kept meanwhile. Raises what the publishing raises."""
        while (task := self._under_way) is not None:
            await asyncio.wait({task}, timeout=_SAVE_EVERY_S)
            if task.done():
                self._collect()
            elif self._stop.is_set():
                raise StoppedError
            else:
                await self._keep_books()

    def _collect(self) -> None:
        """Forget a publish that is done. Raises what it raised."""
        if (task := self._under_way) is not None and task.done():
            self._under_way = None
            task.result()

    async def _keep_books(self, *, now: bool = False) -> None:
        """Save positions and report, each when its time has come; both only look back and may fail."""
        self._collect()
        moment = self._clock.monotonic()
        try:
            if now or moment - self._saved_at >= _SAVE_EVERY_S:
                self._saved_at = moment
                await self._positions.save()
                crash_point("AFTER_POSITION_SAVED")
            if now or moment - self._reported_at >= _REPORT_EVERY_S:
                self._reported_at = moment
                await self._report()
        except PortError as error:
            self._observer.failed("save")
            log.warning("relay_not_reported", error=str(error), error_type=type(error).__name__)

    async def _report(self) -> None:
        lag = dict(await self._consumer.lag())
        for partition, end in self._in_hand.items():
            place = self._positions.place(partition)
            if place.epoch == end.epoch and place.line < end.line:
                lag[partition] = lag.get(partition, 0) + end.line - place.line
        self._observer.lag(lag)
        self._close_finished(lag)
        if self._unreported:
            await self._consumer.report(self._positions.lines(TOPIC))
            # A journal is finished when nothing is left of it: look again while there is.
            self._unreported = any(lag.values())

    def _close_finished(self, lag: Mapping[Partition, int]) -> None:
        """Begin to note where the bus ended, for each journal that was closed and is relayed to its end."""
        if self._closing is not None and not self._closing.done():
            return
        finished = {
            partition: place
            for partition in self._positions.lines(TOPIC)
            if partition not in lag
            and (place := self._positions.place(partition)).line
            and place.ends is None
        }
        self._closing = asyncio.create_task(self._close(finished)) if finished else None

    async def _close(self, finished: Mapping[Partition, Place]) -> None:
        """Asked in the background: relaying does not wait for the answer."""
        try:
            ends = await self._publisher.ends()
        except PortError as error:
            self._observer.failed("close")
            log.warning("journal_not_closed", error=str(error), error_type=type(error).__name__)
            return
        self._positions.close(finished, ends)
        crash_point("AFTER_CLOSE_BEFORE_POSITION")

    async def _end(self) -> None:
        task, self._under_way = self._under_way, None
        if task is not None:
            await asyncio.wait({task}, timeout=_LAST_PUBLISH_S)
            task.cancel()
            [outcome] = await asyncio.gather(task, return_exceptions=True)
            if outcome is not None:
                log.warning("last_batch_not_relayed", cause=str(outcome) or type(outcome).__name__)
        await self._keep_books(now=True)
        if self._closing is not None:
            self._closing.cancel()
            await asyncio.wait({self._closing})
        await self._consumer.close()
