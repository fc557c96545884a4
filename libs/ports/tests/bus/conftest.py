"""A real Kafka for the tests of its adapter: buses that are closed after the test, and a foreign client."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from confluent_kafka import Consumer as ForeignConsumer
from confluent_kafka import Message, TopicPartition
from confluent_kafka import Producer as ForeignProducer
from confluent_kafka.admin import AdminClient, NewTopic

from millrace_ports.bus.kafka.bus import KafkaBus
from millrace_ports.bus.kafka.settings import KafkaOptions, KafkaSettings
from millrace_schemas.topics import Topic, load
from millrace_testkit.real.kafka import KafkaServer

_ANSWER_WITHIN_S = 30.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def topic_of(name: str, partitions: int = 4) -> Topic:
    """A topic as its YAML would say it."""
    return dataclasses.replace(load("lake.commits"), name=name, partitions=partitions)


class Cluster:
    """The broker as its administrator and as other clients see it."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    async def make(self, name: str, partitions: int = 4, **config: str) -> None:
        new = NewTopic(
            name, num_partitions=partitions, config={k.replace("_", "."): v for k, v in config.items()}
        )
        await self._done(self.admin.create_topics([new])[name])

    def replace(self, name: str, values: Sequence[bytes]) -> None:
        """Delete the topic and make it again with these records in one partition, while this process does nothing
        else: no task of its event loop sees anything of it."""
        self.admin.delete_topics([name])[name].result(_ANSWER_WITHIN_S)
        self._wait_gone(name)
        self.admin.create_topics([NewTopic(name, num_partitions=1)])[name].result(_ANSWER_WITHIN_S)
        producer = ForeignProducer({"bootstrap.servers": self.bootstrap, "log_level": 0})
        for value in values:
            producer.produce(name, value)
        assert producer.flush(_ANSWER_WITHIN_S) == 0

    async def delete(self, name: str) -> None:
        """Return when the broker has forgotten it."""
        await self._done(self.admin.delete_topics([name])[name])
        await asyncio.to_thread(self._wait_gone, name)

    async def drop_records(self, name: str, partition: int, before: int) -> None:
        """As retention does: records whose offset is below `before` are gone."""
        futures = self.admin.delete_records([TopicPartition(name, partition, before)])
        for future in futures.values():
            await self._done(future)

    async def read(self, name: str, count: int) -> list[Message]:
        """`count` records by a client that is not ours, per partition in order."""
        return await asyncio.to_thread(self._read, name, count)

    def _wait_gone(self, name: str) -> None:
        deadline = time.monotonic() + _ANSWER_WITHIN_S
        while name in self.admin.list_topics(timeout=10).topics:
            assert time.monotonic() < deadline, f"{name} is still there"
            time.sleep(0.05)

    def _read(self, name: str, count: int) -> list[Message]:
        consumer = ForeignConsumer(
            {"bootstrap.servers": self.bootstrap, "group.id": "foreign", "log_level": 0}
        )
        try:
            partitions = self.admin.list_topics(name, timeout=10).topics[name].partitions
            consumer.assign([TopicPartition(name, number, 0) for number in partitions])
            found: list[Message] = []
            deadline = time.monotonic() + _ANSWER_WITHIN_S
            while len(found) < count and time.monotonic() < deadline:
                found += [message for message in consumer.consume(1000, 0.2) if message.error() is None]
            return found
        finally:
            consumer.close()

    async def _done(self, future: Any) -> None:
        await asyncio.wait_for(asyncio.wrap_future(future), _ANSWER_WITHIN_S)


@pytest.fixture
def cluster(real_kafka: KafkaServer) -> Cluster:
    return Cluster(real_kafka.bootstrap)


@pytest.fixture
def prefix(real_kafka: KafkaServer) -> str:
    return real_kafka.new_prefix()


@pytest.fixture
def topic(prefix: str) -> str:
    return f"{prefix}topic"


@pytest.fixture
async def open_kafka(real_kafka: KafkaServer) -> AsyncIterator[Callable[..., KafkaBus]]:
    """Makes buses with these `KafkaOptions`; they are closed after the test."""
    buses: list[KafkaBus] = []

    def open_kafka(*, monotonic: Callable[[], float] = time.monotonic, **options: Any) -> KafkaBus:
        settings = KafkaSettings(real_kafka.bootstrap, KafkaOptions(**options))
        buses.append(KafkaBus(settings, now_ms=now_ms, monotonic=monotonic))
        return buses[-1]

    yield open_kafka
    await asyncio.gather(*(bus.close() for bus in buses))


@pytest.fixture
async def kafka(open_kafka: Callable[..., KafkaBus], topic: str) -> KafkaBus:
    """A bus with an empty topic of 4 partitions, whose name the fixture `topic` gives."""
    bus = open_kafka()
    await bus.ensure_topics([topic_of(topic)])
    return bus


def by_partition(messages: Sequence[Message]) -> dict[int, list[bytes]]:
    """Values by partition number, in order."""
    found: dict[int, list[bytes]] = {}
    for message in sorted(messages, key=lambda each: (each.partition() or 0, each.offset() or 0)):
        found.setdefault(message.partition() or 0, []).append(message.value() or b"")
    return found
