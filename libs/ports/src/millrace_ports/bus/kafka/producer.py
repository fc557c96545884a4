"""The idempotent producer, and another one in its place when it can no longer be trusted.

aiokafka numbers the batches of a partition when it takes them from its queue, sends one at a time per partition
and repeats it under its number until the broker has it: no repeat and no reordering comes from that. But it never
gives up, and a batch that the broker refuses leaves a gap in the numbers, after which the broker refuses all later
ones of that partition. So a producer that failed or came too late is abandoned, with what it still holds, and a
new one is begun; whoever waited for the old one sends again by the new one.
"""

import asyncio
import contextlib
from typing import Any

from aiokafka import AIOKafkaProducer

from millrace_ports.bus.kafka.admin import KafkaAdmin
from millrace_ports.bus.kafka.ending import abandon_producer, start
from millrace_ports.bus.kafka.probe import probe
from millrace_ports.bus.kafka.settings import KafkaSettings
from millrace_ports.bus.kafka.translate import kafka_errors
from millrace_ports.errors import ClosedError, StorageUnavailableError

_BATCH_BYTES = 1 << 20
_REQUEST_MS = 15_000
_LARGE_BYTES = 2 << 20


class Producer:
    """One producer session. `send` delivers, or raises because this session is over."""

    def __init__(self, driver: Any, admin: KafkaAdmin) -> None:
        self._driver = driver
        self._admin = admin
        self._known: set[str] = set()
        self._over = asyncio.get_running_loop().create_future()
        # The broker hangs up on a request above 100 MiB, and every partition may have a batch in it.
        self._one_large = asyncio.Lock()

    async def partitions(self, topic: str) -> int:
        """How many partitions the topic has. Raises PortError."""
        if topic not in self._known:
            # aiokafka would wait for a topic that is not there, or have a careless broker make it.
            await self._admin.topic(topic)
            self._known.add(topic)
        with kafka_errors(f"publish to topic {topic}"):
            return len(await self._unless_over(self._driver.partitions_for(topic)))

    def new_batch(self) -> Any:
        """An empty batch of at most 1 MiB before compression, or of one larger record."""
        return self._driver.create_batch()

    async def send(self, batch: Any, topic: str, partition: int) -> None:
        """Return when every replica in sync has the batch. Raises KafkaError, StorageUnavailableError (over)."""
        limit = self._one_large if batch.size() > _LARGE_BYTES else contextlib.nullcontext()
        async with limit:
            await self._unless_over(self._deliver(batch, topic, partition))

    async def abandon(self) -> None:
        """End it at once, with whatever it still holds."""
        if self._over.done():
            return
        self._over.set_result(None)
        await abandon_producer(self._driver)

    async def _deliver(self, batch: Any, topic: str, partition: int) -> None:
        try:
            acknowledged = await self._driver.send_batch(batch, topic, partition=partition)
        except AssertionError as error:
            raise StorageUnavailableError(f"topic {topic} has no partition {partition} any more") from error
        await acknowledged

    async def _unless_over(self, work: Any) -> Any:
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task, self._over}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise StorageUnavailableError("this producer was given up")
        finally:
            task.cancel()


class Producers:
    """The producer that is in use, begun when it is first asked for."""

    def __init__(self, settings: KafkaSettings, admin: KafkaAdmin) -> None:
        self._settings = settings
        self._admin = admin
        self._current: asyncio.Task[Producer] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    async def current(self) -> Producer:
        """The producer to use now. Raises PortError when none can be begun, and the next call tries again."""
        self._raise_if_closed()
        if self._current is None or (self._current.done() and self._failed(self._current)):
            self._current = asyncio.create_task(self._begin())
        beginning = self._current
        await asyncio.wait(
            {beginning}
        )  # not the task itself: whoever is cancelled here must not end it for others
        self._raise_if_closed()
        return beginning.result()

    def give_up(self, producer: Producer) -> None:
        """Use `producer` no more; all who wait for it are told so."""
        task = self._current
        if task and task.done() and not self._failed(task) and task.result() is producer:
            self._current = None
        ending = asyncio.create_task(producer.abandon())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """End the producer in use. Nobody waits for it any more."""
        self._closed = True
        if self._current is not None:
            self._current.cancel()
            await asyncio.wait({self._current})
            if not self._failed(self._current):
                self.give_up(self._current.result())
            self._current = None
        if self._ending:
            await asyncio.wait(self._ending)

    async def _begin(self) -> Producer:
        await probe(self._settings)
        options = self._settings.options
        driver = AIOKafkaProducer(
            bootstrap_servers=self._settings.bootstrap,
            client_id="millrace",
            enable_idempotence=True,
            acks="all",
            compression_type=options.compression,
            max_batch_size=_BATCH_BYTES,
            request_timeout_ms=_REQUEST_MS,
            **self._settings.aiokafka(),
        )
        producer = Producer(driver, self._admin)
        try:
            with kafka_errors("write to any topic"):
                await start(driver)
        except BaseException:
            await producer.abandon()
            raise
        return producer

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise ClosedError("the bus is closed")

    @staticmethod
    def _failed(task: asyncio.Task[Producer]) -> bool:
        return task.cancelled() or task.exception() is not None
