"""A real Kafka that is killed, away or silent: nothing acknowledged is lost, errors say so in time, all heals."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable

import pytest

from millrace_ports.bus import Consumer, KafkaOptions, Record, open_bus
from millrace_ports.bus.kafka.bus import KafkaBus
from millrace_ports.errors import ClosedError, StorageUnavailableError
from millrace_testkit.contracts.bus import KeptPositions, read, records, values_of
from millrace_testkit.ports import free_port
from millrace_testkit.real.kafka import KafkaServer

from .conftest import Cluster, by_partition, now_ms

pytestmark = [pytest.mark.real, pytest.mark.faults]


async def publish_again_and_again(bus: KafkaBus, topic: str, name: str, stop: asyncio.Event) -> list[bytes]:
    """What was acknowledged, in order: a call that failed is repeated as it was."""
    acknowledged: list[bytes] = []
    while not stop.is_set():
        batch = [Record(b"%s-%d" % (name.encode(), len(acknowledged) + n), name.encode()) for n in range(20)]
        while True:
            try:
                await bus.publish(topic, batch)
                break
            except StorageUnavailableError:
                await asyncio.sleep(0.05)
        acknowledged += [record.value for record in batch]
    return acknowledged


async def test_kill_9_of_the_broker_loses_nothing_acknowledged_and_keeps_the_order_of_keys(
    open_kafka: Callable[..., KafkaBus],
    kafka: KafkaBus,
    topic: str,
    real_kafka: KafkaServer,
    cluster: Cluster,
) -> None:
    stop, names = asyncio.Event(), "abcdefgh"
    hasty = open_kafka(delivery_timeout_s=0.5)  # gives up in the middle of it, and repeats
    publishing = {
        name: asyncio.create_task(publish_again_and_again(kafka if name < "e" else hasty, topic, name, stop))
        for name in names
    }
    consumer, seen = kafka.consumer(topic, "group", KeptPositions()), defaultdict[bytes, list[int]](list)

    def counts() -> dict[str, int]:
        return {name: len(seen[name.encode()]) for name in names}

    async def consume(until: Callable[[], bool]) -> None:
        async with asyncio.timeout(90):
            while not until():
                try:
                    chunks = await consumer.poll(max_records=500, max_bytes=1_000_000, timeout_s=0.2)
                except StorageUnavailableError:
                    continue
                for value in values_of(chunks):
                    name, _, number = value.partition(b"-")
                    seen[name].append(int(number))

    for _ in range(2):
        await consume(lambda before=counts(): all(counts()[n] > before[n] for n in counts()))  # type: ignore[misc]
        await asyncio.to_thread(real_kafka.kill)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(real_kafka.start)
    await consume(lambda before=counts(): all(counts()[n] > before[n] for n in counts()))  # type: ignore[misc]
    stop.set()
    acknowledged = {name: await task for name, task in publishing.items()}
    await consume(
        lambda: all(max(seen[name.encode()]) >= len(sent) - 1 for name, sent in acknowledged.items())
    )
    for name, sent in acknowledged.items():
        firsts = list(dict.fromkeys(seen[name.encode()]))
        assert firsts == list(range(len(sent)))  # every one, and none before its predecessor
    stored = by_partition(await cluster.read(topic, sum(map(len, seen.values()))))
    for values in stored.values():
        for name in names:
            own = [value for value in values if value.startswith(name.encode())]
            assert not own or list(dict.fromkeys(own)) == acknowledged[name]


async def test_what_needs_a_broker_that_is_away_says_so_and_heals(
    open_kafka: Callable[..., KafkaBus], kafka: KafkaBus, topic: str, real_kafka: KafkaServer
) -> None:
    bus = open_kafka(delivery_timeout_s=1.0)
    consumer = bus.consumer(topic, "group", KeptPositions())
    await bus.publish(topic, records("1"))
    await read(consumer, 1)
    await asyncio.to_thread(real_kafka.kill)
    began = time.monotonic()
    with pytest.raises(StorageUnavailableError, match=f"MILLRACE_BUS.*{topic} within 1 s") as caught:
        await bus.publish(topic, records("2"))
    assert caught.value.retryable
    assert time.monotonic() - began < 4
    for work in (consumer.lag, lambda: bus.group_lag(topic, "group")):
        with pytest.raises(StorageUnavailableError):
            async with asyncio.timeout(20):
                await work()
    with pytest.raises(StorageUnavailableError, match=topic):
        await read(consumer, 1)
    await asyncio.to_thread(real_kafka.start)
    await until_it_works(lambda: bus.publish(topic, records("3")))
    values: list[bytes] = []
    async with asyncio.timeout(60):
        while b'{"n":"3"}' not in values:
            values += await some(consumer)
    assert sum((await consumer.lag()).values()) == 0


async def test_a_silent_broker_is_given_up_in_time(
    open_kafka: Callable[..., KafkaBus], kafka: KafkaBus, topic: str, real_kafka: KafkaServer
) -> None:
    bus = open_kafka(delivery_timeout_s=1.0)
    consumer = bus.consumer(topic, "group", KeptPositions())
    await bus.publish(topic, records("1"))
    chunks = await read(consumer, 1)
    real_kafka.pause()
    try:
        async with asyncio.timeout(4):
            with pytest.raises(StorageUnavailableError, match="within 1 s"):
                await bus.publish(topic, records("2"))
        async with asyncio.timeout(8):
            with pytest.raises(StorageUnavailableError):
                await consumer.report({chunks[0].partition: 1})
        assert await consumer.poll(max_records=1, max_bytes=1, timeout_s=0.2) == []
        async with asyncio.timeout(25):
            await bus.close()
    finally:
        real_kafka.resume()
    await until_it_works(lambda: kafka.publish(topic, records("3")))


async def test_where_nobody_listens_the_setting_is_named() -> None:
    bus = open_bus(
        f"kafka://127.0.0.1:{free_port()}", now_ms=now_ms, kafka=KafkaOptions(delivery_timeout_s=0.5)
    )
    async with asyncio.timeout(30):
        with pytest.raises(StorageUnavailableError, match="MILLRACE_BUS"):
            await bus.publish("topic", records("1"))
        with pytest.raises(StorageUnavailableError, match="MILLRACE_BUS"):
            await bus.consumer("topic", "group", KeptPositions()).poll(
                max_records=1, max_bytes=1, timeout_s=9.0
            )
        with pytest.raises(StorageUnavailableError, match="MILLRACE_BUS"):
            await bus.group_lag("topic", "group")
        await bus.close()


async def test_a_publish_that_still_waits_for_a_broker_is_told_when_the_bus_is_closed() -> None:
    bus = open_bus(f"kafka://127.0.0.1:{free_port()}", now_ms=now_ms)
    publishing = asyncio.create_task(bus.publish("topic", records("1")))
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await bus.close()
        with pytest.raises(ClosedError):
            await publishing


async def some(consumer: Consumer) -> list[bytes]:
    """What a poll gives; nothing while Kafka is away."""
    try:
        return values_of(await consumer.poll(max_records=100, max_bytes=1_000_000, timeout_s=0.5))
    except StorageUnavailableError:
        return []


async def until_it_works(work: Callable[[], object]) -> None:
    """Repeat what Kafka does not take yet."""
    async with asyncio.timeout(60):
        while True:
            try:
                await work()  # type: ignore[misc]
                return
            except StorageUnavailableError:
                await asyncio.sleep(0.1)
