"""Topics of a real Kafka: made from their YAML, deleted and made again, cut short by retention."""

import asyncio
import dataclasses
from collections.abc import Callable

import pytest
from confluent_kafka.admin import ConfigResource, ResourceType

from millrace_ports.bus import Partition, Record
from millrace_ports.bus.kafka.bus import KafkaBus
from millrace_ports.errors import (
    ConfigurationError,
    RecordsLostError,
    StorageUnavailableError,
    TopicMissingError,
)
from millrace_schemas.topics import NAMES, load
from millrace_testkit.clock import ManualClock
from millrace_testkit.contracts.bus import KeptPositions, quiet, read, records, values_of

from .conftest import Cluster, topic_of

pytestmark = pytest.mark.real


async def settings_of(cluster: Cluster, topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    entries = await asyncio.wrap_future(cluster.admin.describe_configs([resource])[resource])
    return {name: entry.value for name, entry in entries.items()}


async def test_topics_are_made_as_their_yaml_says(
    open_kafka: Callable[..., KafkaBus], cluster: Cluster, topic: str
) -> None:
    buses = [open_kafka() for _ in range(3)]
    for _ in range(2):  # several processes at once, and again at the next start
        await asyncio.gather(*(bus.ensure_topics([topic_of(topic, 8)]) for bus in buses))
    listed = cluster.admin.list_topics(topic, timeout=10).topics[topic]
    assert len(listed.partitions) == 8
    settings = await settings_of(cluster, topic)
    assert settings["cleanup.policy"] == "delete"
    assert settings["max.message.bytes"] == str(16 << 20)
    assert settings["retention.ms"] == str(86_400_000)


async def test_every_topic_of_the_schemas_can_be_made(
    open_kafka: Callable[..., KafkaBus], cluster: Cluster, prefix: str
) -> None:
    topics = [dataclasses.replace(load(name), name=f"{prefix}{name}") for name in NAMES]
    await open_kafka().ensure_topics(topics)
    assert {topic.name for topic in topics} <= set(cluster.admin.list_topics(timeout=10).topics)


@pytest.mark.parametrize("partitions", [0, 3, 32])
async def test_a_partition_count_that_does_not_divide_16_is_refused(
    open_kafka: Callable[..., KafkaBus], topic: str, partitions: int
) -> None:
    with pytest.raises(ConfigurationError, match=f"{topic}.*{partitions} partitions.*16"):
        await open_kafka().ensure_topics([topic_of(topic, partitions)])


async def test_a_topic_of_another_partition_count_is_named(kafka: KafkaBus, topic: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{topic} has 4 partitions.*and 8 in its YAML"):
        await kafka.ensure_topics([topic_of(topic, 8)])


async def test_more_replicas_than_brokers_name_the_setting(
    open_kafka: Callable[..., KafkaBus], topic: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"MILLRACE_KAFKA_REPLICATION_FACTOR.*{topic}.*3"):
        await open_kafka(replication_factor=3).ensure_topics([topic_of(topic)])


@pytest.mark.parametrize("count", [3, 25])
async def test_a_topic_made_again_while_the_consumer_is_paused_is_read_from_its_start(
    open_kafka: Callable[..., KafkaBus], cluster: Cluster, topic: str, count: int
) -> None:
    clock = ManualClock()
    bus = open_kafka(monotonic=clock.monotonic)
    await bus.ensure_topics([topic_of(topic, 1)])
    await bus.publish(topic, records(*map(str, range(10))))
    consumer = bus.consumer(topic, "group", KeptPositions())
    old = await read(consumer, 10)
    values = [b"new-%d" % number for number in range(count)]
    cluster.replace(topic, values)
    clock.advance(5.1)
    new = await read(consumer, count)
    assert values_of(new) == values
    assert {chunk.partition for chunk in new}.isdisjoint({chunk.partition for chunk in old})
    assert (new[0].start, new[-1].end) == (0, count)
    await consumer.ensure_durable(new)
    with pytest.raises(StorageUnavailableError, match=f"{topic} was deleted and made again"):
        await consumer.ensure_durable(old)
    await consumer.reset(old[0].partition)
    assert await quiet(consumer)


async def test_records_of_a_topic_made_again_are_not_stored_under_the_former_one(
    open_kafka: Callable[..., KafkaBus], cluster: Cluster, topic: str
) -> None:
    clock = ManualClock()
    bus = open_kafka(monotonic=clock.monotonic)
    await bus.ensure_topics([topic_of(topic, 1)])
    await bus.publish(topic, records(*map(str, range(10))))
    positions = KeptPositions()
    consumer = bus.consumer(topic, "group", positions)
    chunks = await read(consumer, 10)
    positions.take(chunks)
    former = chunks[0].partition
    values = [b"new-%d" % number for number in range(25)]
    cluster.replace(topic, values)
    chunks = await read(consumer, 15)  # not looked up yet: what has the next numbers in the new topic
    assert {chunk.partition for chunk in chunks} == {former}
    assert values_of(chunks) == values[10:]
    with pytest.raises(StorageUnavailableError, match="made again"):
        await consumer.ensure_durable(chunks)
    await consumer.reset(former)
    chunks = await read(consumer, 25)
    assert values_of(chunks) == values
    assert former not in {chunk.partition for chunk in chunks}
    await consumer.ensure_durable(chunks)


async def test_a_topic_that_is_deleted_is_missed_and_read_when_it_is_back(
    open_kafka: Callable[..., KafkaBus], cluster: Cluster, topic: str
) -> None:
    clock = ManualClock()
    bus, other = open_kafka(monotonic=clock.monotonic), open_kafka()
    await bus.ensure_topics([topic_of(topic, 1)])
    consumer = bus.consumer(topic, "group", KeptPositions())
    assert await quiet(consumer)
    await cluster.delete(topic)
    clock.advance(5.1)
    with pytest.raises(TopicMissingError, match=topic):
        await consumer.poll(max_records=1, max_bytes=1, timeout_s=20.0)
    await other.ensure_topics([topic_of(topic, 1)])
    await other.publish(topic, records("1", "2"))
    assert values_of(await read(consumer, 2)) == [b'{"n":"1"}', b'{"n":"2"}']


async def test_records_that_retention_took_unread_stop_the_consumer(
    kafka: KafkaBus, cluster: Cluster, topic: str
) -> None:
    await kafka.publish(topic, records(*map(str, range(10))))
    first = kafka.consumer(topic, "one", KeptPositions())
    partition = (await read(first, 10))[0].partition
    number = int(partition.name.rpartition("/")[2])
    positions = KeptPositions()
    positions.consumed[partition] = 2
    await cluster.drop_records(topic, number, 5)
    consumer = kafka.consumer(topic, "other", positions)
    for _ in range(2):  # nothing resets by itself
        with pytest.raises(RecordsLostError) as caught:
            await read(consumer, 1)
        lost = caught.value
        assert (lost.partition, lost.position, lost.first_available) == (partition.name, 2, 6)
        assert not lost.retryable
    positions.consumed[partition] = 5  # somebody brought them back from the journal
    await consumer.reset(partition)
    chunks = await read(consumer, 5)
    assert (chunks[0].start, values_of(chunks)[0]) == (5, b'{"n":"5"}')


async def test_a_new_consumer_of_a_topic_that_retention_has_cut_says_so(
    kafka: KafkaBus, cluster: Cluster, topic: str
) -> None:
    await kafka.publish(topic, [Record(b"%d" % n, b"k") for n in range(4)])
    first = kafka.consumer(topic, "one", KeptPositions())
    partition: Partition = (await read(first, 4))[0].partition
    await cluster.drop_records(topic, int(partition.name.rpartition("/")[2]), 3)
    with pytest.raises(RecordsLostError, match="first one there is number 4"):
        await read(kafka.consumer(topic, "other", KeptPositions()), 1)
