"""Publishing to a real Kafka: what other clients find there, sizes, order."""

import asyncio
import random
from collections.abc import Callable

import pytest
from aiokafka.partitioner import DefaultPartitioner

from millrace_ports.bus import ENVELOPE, Origin, Record
from millrace_ports.bus.kafka.bus import KafkaBus
from millrace_ports.errors import ClosedError, ConfigurationError, InvalidRecordError, TopicMissingError
from millrace_testkit.contracts.bus import KeptPositions, read, values_of

from .conftest import Cluster, by_partition, now_ms

pytestmark = pytest.mark.real

LARGE = 8 << 20


async def test_foreign_clients_find_keys_headers_and_times(
    kafka: KafkaBus, topic: str, cluster: Cluster
) -> None:
    received = now_ms() - 5000
    origin = Origin("door-1", "2026-03-14#2", 7, 1, received)
    await kafka.publish(topic, [Record(b'{"a":1}', b"key", {"source": "数"}, origin)])
    (message,) = await cluster.read(topic, 1)
    assert (message.key(), message.value()) == (b"key", b'{"a":1}')
    assert message.headers() == [
        ("source", "数".encode()),
        ("millrace-origin", f"door-1/2026-03-14#2/7/1/{received}".encode()),
    ]
    assert message.timestamp()[1] == received


async def test_keys_go_to_the_partition_that_other_clients_choose(
    kafka: KafkaBus, topic: str, cluster: Cluster
) -> None:
    keys = [str(number).encode() for number in range(200)]
    await kafka.publish(topic, [Record(key, key) for key in keys])
    choose = DefaultPartitioner()
    for message in await cluster.read(topic, len(keys)):
        assert message.partition() == choose(message.key(), [0, 1, 2, 3], [0, 1, 2, 3])


async def test_records_without_a_key_of_one_call_stay_together(
    kafka: KafkaBus, topic: str, cluster: Cluster
) -> None:
    for call in range(8):
        await kafka.publish(topic, [Record(f"{call}-{number}".encode()) for number in range(5)])
    found = by_partition(await cluster.read(topic, 40))
    assert sorted(found) == [0, 1, 2, 3]  # they take turns
    for values in found.values():
        calls = [value.split(b"-")[0] for value in values]
        assert values == [b"%b-%d" % (call, number) for call in dict.fromkeys(calls) for number in range(5)]


async def test_a_time_that_would_expire_on_arrival_or_lies_ahead_is_moved(
    kafka: KafkaBus, topic: str, cluster: Cluster
) -> None:
    day_ms = 86_400_000
    times = [now_ms() - 30 * day_ms, now_ms() + 30 * day_ms]
    await kafka.publish(
        topic, [Record(b"x", b"k", {}, Origin("d", "2026-03-14", 1, 0, time)) for time in times]
    )
    old, ahead = [message.timestamp()[1] for message in await cluster.read(topic, 2)]
    assert now_ms() - day_ms - 60_000 < old <= now_ms() - day_ms
    assert now_ms() - 60_000 < ahead <= now_ms()


async def test_an_encoded_envelope_may_hold_line_feeds(kafka: KafkaBus, topic: str) -> None:
    value = b"\n\x04body\n"
    await kafka.publish(topic, [Record(value, b"k", {"content-type": ENVELOPE})])
    assert values_of(await read(kafka.consumer(topic, "group", KeptPositions()), 1)) == [value]
    with pytest.raises(InvalidRecordError):
        await kafka.publish(topic, [Record(value, b"k", {"content-type": "application/json"})])


async def test_large_records_come_through_and_one_too_large_is_named(kafka: KafkaBus, topic: str) -> None:
    values = [bytes([65 + number]) * LARGE for number in range(3)]
    await kafka.publish(topic, [Record(value, b"k%d" % number) for number, value in enumerate(values)])
    consumer = kafka.consumer(topic, "group", KeptPositions())
    assert sorted(values_of(await read(consumer, 3, max_bytes=LARGE))) == values
    with pytest.raises(InvalidRecordError, match="1: 16777217 bytes, and the bus takes 16773120"):
        await kafka.publish(topic, [Record(b"small", b"k"), Record(b"x" * (16 << 20), b"k")])


async def test_the_largest_record_that_does_not_compress_comes_through(kafka: KafkaBus, topic: str) -> None:
    value = random.Random(1).randbytes(16_773_120 - 1).replace(b"\n", b".")
    await kafka.publish(topic, [Record(value, b"k")])
    assert values_of(await read(kafka.consumer(topic, "group", KeptPositions()), 1)) == [value]


async def test_a_batch_too_large_for_the_topic_is_split_in_order(
    open_kafka: Callable[..., KafkaBus], topic: str, cluster: Cluster
) -> None:
    await cluster.make(topic, 2, max_message_bytes="3000")
    bus, chance = open_kafka(), random.Random(2)
    records = [
        Record(b"%03d:%s" % (number, chance.randbytes(250).hex().encode()), b"key%d" % (number % 5))
        for number in range(100)
    ]
    await bus.publish(topic, records)
    found = by_partition(await cluster.read(topic, 100))
    assert sum(map(len, found.values())) == 100
    for values in found.values():
        assert values == sorted(values)


async def test_a_record_that_the_broker_refuses_is_named_and_the_bus_goes_on(
    open_kafka: Callable[..., KafkaBus], topic: str, cluster: Cluster
) -> None:
    await cluster.make(topic, 1, max_message_bytes="3000")
    bus = open_kafka()
    records = [Record(b"%d" % number, b"k") for number in range(9)]
    records[4] = Record(random.Random(3).randbytes(3000).hex().encode(), b"k")
    with pytest.raises(InvalidRecordError, match="broker") as caught:
        await bus.publish(topic, records)
    assert caught.value.index == 4
    records[4] = Record(b"in its place", b"k")
    await bus.publish(topic, records)
    consumer, values = bus.consumer(topic, "group", KeptPositions()), []
    while records[-1].value not in values:
        values += values_of(await read(consumer, 1))
    assert list(dict.fromkeys(values)) == [record.value for record in records]


async def test_order_per_key_holds_under_many_publishers(
    open_kafka: Callable[..., KafkaBus], kafka: KafkaBus, topic: str, cluster: Cluster
) -> None:
    other = open_kafka(compression="lz4")

    async def publish(bus: KafkaBus, name: str) -> None:
        numbers = iter(range(600))
        for size in (1, 99, 200, 300):
            records = [Record(b"%s-%d" % (name.encode(), next(numbers)), name.encode()) for _ in range(size)]
            await bus.publish(topic, records)

    names = "abcdefghijkl"
    await asyncio.gather(*(publish(kafka if name < "g" else other, name) for name in names))
    found = by_partition(await cluster.read(topic, 600 * len(names)))
    for name in names:
        own = [v for values in found.values() for v in values if v.startswith(name.encode())]
        assert own == [b"%s-%d" % (name.encode(), number) for number in range(600)]


async def test_a_topic_that_is_not_there_is_named_at_once(kafka: KafkaBus, topic: str) -> None:
    missing = f"{topic}.missing"
    async with asyncio.timeout(10):
        with pytest.raises(TopicMissingError, match=f"{missing}.*MILLRACE_BUS") as caught:
            await kafka.publish(missing, [Record(b"x")])
        assert caught.value.retryable
        with pytest.raises(TopicMissingError, match=missing):
            await kafka.consumer(missing, "group", KeptPositions()).poll(
                max_records=1, max_bytes=1, timeout_s=9.0
            )
    await kafka.publish(topic, [Record(b"x")])


@pytest.mark.parametrize("name", ["", "../raw", "a/b", "a b", "x" * 201])
async def test_a_topic_is_a_plain_name(kafka: KafkaBus, name: str) -> None:
    with pytest.raises(ConfigurationError, match="topic"):
        await kafka.publish(name, [Record(b"x")])


async def test_closing_waits_for_what_is_being_published(
    kafka: KafkaBus, topic: str, cluster: Cluster
) -> None:
    publishing = asyncio.create_task(kafka.publish(topic, [Record(b"%d" % number) for number in range(5000)]))
    await asyncio.sleep(0)
    await kafka.close()
    await publishing
    assert len(await cluster.read(topic, 5000)) == 5000
    with pytest.raises(ClosedError):
        await kafka.publish(topic, [Record(b"late")])
