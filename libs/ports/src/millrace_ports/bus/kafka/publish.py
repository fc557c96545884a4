"""Records -> batches per partition, each acknowledged before the next of its partition leaves.

Batches of one partition go one after the other, so that none can overtake one that has to be repeated or split;
partitions go side by side, and the next batch is put together while the last one is on its way.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from aiokafka import errors as aio

from millrace_ports.bus.kafka.origin import HEADER, check_origin, encode_origin
from millrace_ports.bus.kafka.partitioner import lanes_of
from millrace_ports.bus.kafka.producer import Producer, Producers
from millrace_ports.bus.kafka.settings import MAX_RECORD_BYTES
from millrace_ports.bus.kafka.translate import translated
from millrace_ports.bus.port import ENVELOPE, Record
from millrace_ports.errors import InvalidRecordError, PortError, StorageUnavailableError, TopicMissingError

_OVERHEAD_BYTES = 4096
"""Left for what Kafka and the compression add to a record."""

_OLDEST_MS = 86_400_000
"""Retention counts from a record's timestamp: one that was long on its way must not expire on arrival."""

_PAUSE_S = 0.2

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Batch:
    """Records `start` to `stop` - 1 of a lane, put together."""

    start: int
    stop: int
    built: Any


class Publisher:
    """Publishes by whatever producer is in use."""

    def __init__(self, producers: Producers, *, now_ms: Callable[[], int], timeout_s: float) -> None:
        self._producers = producers
        self._now_ms = now_ms
        self._timeout_s = timeout_s
        self._turns = itertools.count()

    async def publish(self, topic: str, records: Sequence[Record]) -> None:
        """See the port. Ends with StorageUnavailableError when Kafka has not taken all within the timeout."""
        for index, record in enumerate(records):
            _check(index, record)
        if not records:
            return
        delivery = _Delivery(self._producers, topic, records, self._now_ms())
        try:
            async with asyncio.timeout(self._timeout_s):
                await delivery.run(next(self._turns))
        except TimeoutError:
            delivery.give_up()
            why = f": {delivery.trouble}" if delivery.trouble else ""
            raise StorageUnavailableError(
                f"Kafka (MILLRACE_BUS) has not taken all records for topic {topic} within {self._timeout_s:g} s{why}"
            ) from delivery.trouble


class _Delivery:
    """One call of publish. `trouble` is what it last had to wait for."""

    def __init__(
        self,
        producers: Producers,
        topic: str,
        records: Sequence[Record],
        now_ms: int,
    ) -> None:
        self._producers = producers
        self._producer: Producer | None = None
        self._topic = topic
        self._records = records
        self._now_ms = now_ms
        self.trouble: PortError | None = None

    async def run(self, turn: int) -> None:
        """Return when all records are acknowledged. `turn` chooses the partition of records without a key."""
        count = await self._patiently(lambda producer: producer.partitions(self._topic))
        lanes = lanes_of([record.key for record in self._records], count, keyless=turn % count)
        ends = await asyncio.gather(
            *(self._run_lane(number, lane) for number, lane in lanes.items()), return_exceptions=True
        )
        failures = [end for end in ends if end is not None]
        if failures:
            raise next((each for each in failures if isinstance(each, InvalidRecordError)), failures[0])

    def give_up(self) -> None:
        """What was sent and is not acknowledged shall not be sent any more."""
        if self._producer is not None:
            self._producers.give_up(self._producer)

    async def _run_lane(self, number: int, lane: Sequence[int]) -> None:
        batch = self._batch(lane, 0, len(lane))
        while True:
            sending = asyncio.create_task(self._deliver(number, lane, batch))
            try:
                await asyncio.sleep(0)  # it is under way
                following = self._batch(lane, batch.stop, len(lane)) if batch.stop < len(lane) else None
                await sending
            finally:
                sending.cancel()
            if following is None:
                return
            batch = following

    async def _deliver(self, number: int, lane: Sequence[int], batch: _Batch) -> None:
        """Return when the batch is acknowledged, perhaps in parts, first part first."""
        again = False

        async def send(producer: Producer) -> None:
            nonlocal batch, again
            if again:  # what was handed to a producer once cannot go to another one
                batch = self._batch(lane, batch.start, batch.stop)
            again = True
            await producer.send(batch.built, self._topic, number)

        try:
            await self._patiently(send)
        except aio.MessageSizeTooLargeError as error:
            if batch.stop - batch.start == 1:
                raise InvalidRecordError(
                    lane[batch.start],
                    f"the broker takes no record of this size in topic {self._topic}: {error}",
                ) from error
            middle = (batch.start + batch.stop) // 2
            for start, stop in ((batch.start, middle), (middle, batch.stop)):
                await self._deliver(number, lane, self._batch(lane, start, stop))

    async def _patiently(self, work: Callable[[Producer], Awaitable[_T]]) -> _T:
        """What `work` gives by a producer that can do it; a producer by which it fails is given up.

        Raises MessageSizeTooLargeError, and PortErrors that do not go away while one waits.
        """
        while True:
            producer = None
            try:
                self._producer = producer = await self._producers.current()
                return await work(producer)
            except (aio.KafkaError, PortError) as error:
                if isinstance(error, TopicMissingError):
                    raise
                if producer is not None:
                    self._producers.give_up(producer)
                if isinstance(error, aio.MessageSizeTooLargeError):
                    raise
                trouble = translated(f"publish to topic {self._topic}", error)
                if not trouble.retryable:
                    raise trouble from error
                self.trouble = trouble
                await asyncio.sleep(_PAUSE_S)

    def _batch(self, lane: Sequence[int], start: int, stop: int) -> _Batch:
        """As many of the lane's records from `start` to `stop` - 1 as go into one batch, at least one."""
        assert self._producer is not None
        built = self._producer.new_batch()
        append, records = built.append, self._records
        oldest_ms, now_ms = self._now_ms - _OLDEST_MS, self._now_ms
        for place in range(start, stop):
            record = records[lane[place]]
            headers = (
                [(name, text.encode()) for name, text in record.headers.items()] if record.headers else []
            )
            origin, time_ms = record.origin, now_ms
            if origin is not None:
                headers.append((HEADER, encode_origin(origin)))
                time_ms = min(max(origin.received_at_ms, oldest_ms), now_ms)
            if not append(timestamp=time_ms, key=record.key, value=record.value, headers=headers):
                stop = place
                break
        built.close()
        return _Batch(start, stop, built)


def _check(index: int, record: Record) -> None:
    """Raises InvalidRecordError for a record that cannot be sent."""
    value, key, headers = record.value, record.key, record.headers
    if b"\n" in value and headers.get("content-type") != ENVELOPE:
        raise InvalidRecordError(index, "a record holds no line feed")
    size = len(value) + (len(key) if key else 0)
    if headers:
        size += sum(len(name.encode()) + len(text.encode()) for name, text in headers.items())
    if size > MAX_RECORD_BYTES - _OVERHEAD_BYTES:
        raise InvalidRecordError(
            index, f"{size} bytes, and the bus takes {MAX_RECORD_BYTES - _OVERHEAD_BYTES} at most"
        )
    if record.origin is not None:
        try:
            check_origin(record.origin)
        except ValueError as error:
            raise InvalidRecordError(index, str(error)) from error
