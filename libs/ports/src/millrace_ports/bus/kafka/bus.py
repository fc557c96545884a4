"""The bus on Kafka, for any number of processes and hosts."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from millrace_ports.bus.kafka.admin import KafkaAdmin
from millrace_ports.bus.kafka.consumer import KafkaConsumer
from millrace_ports.bus.kafka.producer import Producers
from millrace_ports.bus.kafka.progress import group_lag
from millrace_ports.bus.kafka.publish import Publisher
from millrace_ports.bus.kafka.settings import KafkaSettings
from millrace_ports.bus.kafka.topics import ensure_topics
from millrace_ports.bus.names import checked_name
from millrace_ports.bus.port import Partition, Positions, Record
from millrace_ports.errors import ClosedError
from millrace_schemas.topics import Topic

_DELIVERED_WITHIN_S = 5.0


class KafkaBus:
    """`millrace_ports.bus.port.ServerBus` on a Kafka cluster. Connects when it is first used.

    `now_ms` dates records without an origin, `monotonic` tells how long ago a topic was looked up.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        now_ms: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._settings = settings
        self._admin = KafkaAdmin(settings)
        self._producers = Producers(settings, self._admin)
        timeout_s = settings.options.delivery_timeout_s
        self._publisher = Publisher(self._producers, now_ms=now_ms, timeout_s=timeout_s)
        self._publishing: set[asyncio.Future[None]] = set()
        self._consumers: list[KafkaConsumer] = []
        self._closed = False

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        """See the port; `millrace_ports.bus.kafka.topics` says what a topic is made with."""
        self._raise_if_closed()
        await ensure_topics(self._admin, topics, self._settings.options)

    async def publish(self, topic: str, records: Sequence[Record]) -> None:
        """See the port. The first error of the broker's, such as a missing topic or right, names the setting."""
        self._raise_if_closed()
        done = asyncio.get_running_loop().create_future()
        self._publishing.add(done)
        try:
            await self._publisher.publish(checked_name(topic), records)
        finally:
            self._publishing.discard(done)
            done.set_result(None)

    def consumer(
        self, topic: str, group: str, positions: Positions, *, traced: bool = False
    ) -> KafkaConsumer:
        """See the port; joins the group at the first poll, which all readers of `topic` for `group` share."""
        self._raise_if_closed()
        consumer = KafkaConsumer(
            checked_name(topic),
            checked_name(group),
            positions,
            settings=self._settings,
            admin=self._admin,
            monotonic=self._monotonic,
            traced=traced,
        )
        self._consumers.append(consumer)
        return consumer

    async def topic_id(self, topic: str) -> str:
        """See the port."""
        self._raise_if_closed()
        return (await self._admin.topic(checked_name(topic))).id

    async def ends(self, topic: str) -> Mapping[Partition, int]:
        """See the port."""
        self._raise_if_closed()
        return await self._admin.ends(checked_name(topic))

    async def group_lag(self, topic: str, group: str) -> Mapping[Partition, int]:
        """See the port."""
        self._raise_if_closed()
        return await group_lag(self._settings, await self._admin.topic(topic), group)

    async def close(self) -> None:
        """See the port. A publish that does not end within 5 s is told that it was not taken."""
        if self._closed:
            return
        self._closed = True
        await asyncio.gather(*(consumer.close() for consumer in self._consumers))
        if self._publishing:
            await asyncio.wait(self._publishing, timeout=_DELIVERED_WITHIN_S)
        await self._producers.close()
        await self._admin.close()

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise ClosedError("the bus is closed")
