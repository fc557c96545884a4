"""Reading from a real Kafka: members that come and go, gaps, tombstones, progress."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping

import pytest
from confluent_kafka import Producer as ForeignProducer

from millrace_ports.bus import Chunk, Consumer, Origin, Partition, Record
from millrace_ports.bus.kafka.bus import KafkaBus
from millrace_ports.errors import ClosedError, PositionError, StorageUnavailableError, TopicMissingError
from millrace_testkit.contracts.bus import KeptPositions, quiet, read, records, values_of

from .conftest import Cluster, now_ms, topic_of

pytestmark = pytest.mark.real


class Shared(KeptPositions):
    """Positions of several consumers as the lake keeps them: a chunk is taken only if it follows what is there."""

    def __init__(self) -> None:
        super().__init__()
        self.values: defaultdict[Partition, list[bytes]] = defaultdict(list)

    def take_if_next(self, chunk: Chunk) -> bool:
        if self.consumed.get(chunk.partition, 0) != chunk.start:
            return False
        self.consumed[chunk.partition] = chunk.end
        self.values[chunk.partition] += chunk.values
        return True

    @property
    def count(self) -> int:
        return sum(map(len, self.values.values()))


async def consume(consumer: Consumer, positions: Shared, stop: asyncio.Event) -> int:
    """Take what comes until told to stop; how many records this consumer took."""
    taken = 0
    while not stop.is_set():
        for chunk in await consumer.poll(max_records=50, max_bytes=100_000, timeout_s=0.1):
            await asyncio.sleep(0.002)  # the time of a commit
            if positions.take_if_next(chunk):
                taken += len(chunk.values)
            else:
                await consumer.reset(chunk.partition)
    return taken


async def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_nothing_is_lost_or_mixed_when_members_come_and_go(
    open_kafka: Callable[..., KafkaBus], topic: str
) -> None:
    bus, total = open_kafka(), 6000
    await bus.ensure_topics([topic_of(topic, 8)])
    positions, stops = Shared(), [asyncio.Event() for _ in range(3)]
    consumers = [open_kafka().consumer(topic, "group", positions) for _ in stops]
    readers: list[asyncio.Task[int]] = []

    async def publish() -> None:
        for start in range(0, total, 100):
            await bus.publish(
                topic,
                [Record(b"%d-%d" % (n % 40, n), b"key%d" % (n % 40)) for n in range(start, start + 100)],
            )
            await asyncio.sleep(0.02)

    publishing = asyncio.create_task(publish())
    for consumer, stop in zip(consumers, stops, strict=True):  # one after the other joins
        readers.append(asyncio.create_task(consume(consumer, positions, stop)))
        before = positions.count
        await wait_for(lambda before=before: positions.count > before)  # type: ignore[misc]
    stops[0].set()
    await readers[0]
    await consumers[0].close()
    await publishing
    await wait_for(lambda: positions.count >= total)
    for stop in stops:
        stop.set()
    taken = [await reader for reader in readers]
    assert sum(taken) == positions.count == total
    assert min(taken) > 0
    by_key: defaultdict[bytes, list[int]] = defaultdict(list)
    for values in positions.values.values():
        for value in values:
            key, _, number = value.partition(b"-")
            by_key[key].append(int(number))
    assert by_key == {b"%d" % key: list(range(key, total, 40)) for key in range(40)}


async def test_what_was_read_ahead_for_a_lost_partition_is_dropped(
    open_kafka: Callable[..., KafkaBus], kafka: KafkaBus, topic: str
) -> None:
    await kafka.publish(topic, [Record(b"%d" % n, b"%d" % n) for n in range(400)])
    first_positions, second_positions = Shared(), Shared()
    first = kafka.consumer(topic, "group", first_positions)
    await read(first, 1, max_records=1)  # the rest of the fetch is queued
    second = open_kafka().consumer(topic, "group", second_positions)
    mine, others = set(), set()
    while len(others) < 2:
        others |= {
            chunk.partition for chunk in await second.poll(max_records=9, max_bytes=999, timeout_s=0.2)
        }
        await first.poll(max_records=1, max_bytes=999, timeout_s=0.2)
    for _ in range(20):
        mine |= {chunk.partition for chunk in await first.poll(max_records=50, max_bytes=9999, timeout_s=0.1)}
    assert len(mine) == len(others) == 2
    assert not mine & others


async def test_a_member_without_partitions_stands_by(open_kafka: Callable[..., KafkaBus], topic: str) -> None:
    first_bus, second_bus = open_kafka(), open_kafka()
    await first_bus.ensure_topics([topic_of(topic, 1)])
    await first_bus.publish(topic, records("1"))
    positions = Shared()
    first, second = (bus.consumer(topic, "group", positions) for bus in (first_bus, second_bus))
    stop = asyncio.Event()
    standing_by = asyncio.create_task(consume(second, positions, stop))
    taken = asyncio.create_task(consume(first, positions, asyncio.Event()))
    await wait_for(lambda: positions.count == 1)
    assert {len(await consumer.lag()) for consumer in (first, second)} == {0, 1}
    await first_bus.close()
    with pytest.raises(ClosedError):
        await taken
    await second_bus.publish(topic, records("2"))
    await wait_for(lambda: positions.count == 2)
    stop.set()
    await standing_by


async def test_the_group_s_offsets_are_never_where_reading_begins(kafka: KafkaBus, topic: str) -> None:
    await kafka.publish(topic, records(*map(str, range(10))))
    first = kafka.consumer(topic, "group", KeptPositions())
    chunks = await read(first, 10)
    partition = chunks[0].partition
    await first.report({partition: 7})
    await first.close()
    positions = KeptPositions()
    positions.consumed[partition] = 3
    second = kafka.consumer(topic, "group", positions)
    chunks = await read(second, 7)
    assert (chunks[0].start, values_of(chunks)[0]) == (3, b'{"n":"3"}')


async def test_progress_is_seen_from_outside(kafka: KafkaBus, topic: str) -> None:
    await kafka.publish(topic, records(*map(str, range(10))))
    consumer = kafka.consumer(topic, "group", KeptPositions())
    chunks = await read(consumer, 10)
    lag = await kafka.group_lag(topic, "group")
    assert (len(lag), sum(lag.values())) == (4, 10)  # nothing reported yet
    await consumer.report({chunks[0].partition: 6})
    assert (await kafka.group_lag(topic, "group"))[chunks[0].partition] == 4
    await consumer.report({chunks[0].partition: chunks[-1].end, Partition(topic, "gone/0"): 5})
    assert sum((await kafka.group_lag(topic, "group")).values()) == 0
    assert sum((await kafka.group_lag(topic, "another")).values()) == 10


async def test_the_end_of_every_partition_is_seen_and_a_topic_made_anew_has_others(
    kafka: KafkaBus, topic: str, cluster: Cluster
) -> None:
    before, first_id = await known_ends(kafka, topic), await kafka.topic_id(topic)
    assert (len(before), sum(before.values())) == (4, 0)
    await kafka.publish(topic, records("1", "2", "3"))
    after = await kafka.ends(topic)
    assert sorted(after.values()) == [0, 0, 0, 3]
    assert {partition.name.rpartition("/")[0] for partition in after} == {first_id}
    await cluster.delete(topic)
    for look in (kafka.ends, kafka.topic_id):
        with pytest.raises(TopicMissingError):
            await look(topic)
    await cluster.make(topic)
    again = await known_ends(kafka, topic)
    assert not again.keys() & after.keys()
    assert sum(again.values()) == 0
    assert await kafka.topic_id(topic) != first_id


async def known_ends(kafka: KafkaBus, topic: str) -> Mapping[Partition, int]:
    """When the broker knows the leaders of a topic that was just made."""
    while True:
        try:
            return await kafka.ends(topic)
        except StorageUnavailableError:
            await asyncio.sleep(0.05)


async def test_a_tombstone_of_a_foreign_client_is_told_from_a_blank_value(
    kafka: KafkaBus, topic: str, cluster: Cluster
) -> None:
    producer = ForeignProducer({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    for value in (b"one", None, b""):
        producer.produce(topic, value, b"k", timestamp=now_ms())
    assert await asyncio.to_thread(producer.flush, 30) == 0
    chunks = await read(kafka.consumer(topic, "group", KeptPositions()), 3)
    assert values_of(chunks) == [b"one", b"", b""]
    assert frozenset().union(*(chunk.tombstones for chunk in chunks)) == {2}


async def test_origins_of_relayed_records_come_with_them(kafka: KafkaBus, topic: str) -> None:
    origins = [Origin("door-1", "2026-03-14", line, 0, now_ms()) for line in (1, 2)]
    await kafka.publish(topic, [Record(b"%d" % o.line, b"k", {}, o) for o in origins])
    await kafka.publish(topic, [Record(b"foreign", b"k")])
    consumer = kafka.consumer(topic, "group", KeptPositions())
    found: list[Origin | None] = []
    for chunk in await read(consumer, 3):
        found += chunk.origins or [None] * len(chunk.values)
    assert found == [*origins, None]


async def test_transactions_leave_gaps_and_no_lag_and_what_was_aborted_is_not_read(
    kafka: KafkaBus, topic: str, cluster: Cluster
) -> None:
    producer = ForeignProducer(
        {"bootstrap.servers": cluster.bootstrap, "transactional.id": topic, "log_level": 0}
    )

    def transact() -> None:
        producer.init_transactions(30)
        for number in range(6):
            producer.begin_transaction()
            producer.produce(topic, b"%d" % number, b"k")
            if number % 3 == 2:
                producer.flush(30)
                producer.abort_transaction(30)
            else:
                producer.commit_transaction(30)

    await asyncio.to_thread(transact)
    consumer = kafka.consumer(topic, "group", KeptPositions())
    chunks = await read(consumer, 4)
    assert values_of(chunks) == [b"0", b"1", b"3", b"4"]
    position = 0
    for chunk in chunks:
        assert chunk.start == position
        assert chunk.end == chunk.offsets[-1]
        position = chunk.end
    assert [offset for chunk in chunks for offset in chunk.offsets] == [1, 3, 7, 9]
    assert await quiet(consumer)
    assert sum((await consumer.lag()).values()) == 0
    await consumer.report({chunks[0].partition: position})
    assert sum((await kafka.group_lag(topic, "group")).values()) == 0


async def test_a_failed_owner_is_asked_again(kafka: KafkaBus, topic: str) -> None:
    class Failing(KeptPositions):
        async def start(self, partition: Partition) -> int:
            position = await super().start(partition)
            if len(self.started) == 1:
                raise RuntimeError("no lake")
            return position

    await kafka.publish(topic, records("1"))
    consumer = kafka.consumer(topic, "group", Failing())
    with pytest.raises(RuntimeError, match="no lake"):
        await read(consumer, 1)
    assert values_of(await read(consumer, 1)) == [b'{"n":"1"}']


@pytest.mark.parametrize("position", [-1, 4])
async def test_a_position_that_kafka_does_not_have_is_an_error(
    kafka: KafkaBus, topic: str, position: int
) -> None:
    await kafka.publish(topic, records("1", "2", "3"))
    first = kafka.consumer(topic, "one", KeptPositions())
    partition = (await read(first, 3))[0].partition
    positions = KeptPositions()
    positions.consumed[partition] = position
    consumer = kafka.consumer(topic, "other", positions)
    for _ in range(2):  # it does not go away by itself
        with pytest.raises(PositionError, match=str(position)) as caught:
            await read(consumer, 1)
        assert not caught.value.retryable


async def test_closing_ends_a_poll_that_waits(kafka: KafkaBus, topic: str) -> None:
    joining, reading = (kafka.consumer(topic, group, KeptPositions()) for group in ("a", "b"))
    assert await quiet(reading)
    polls = [
        asyncio.create_task(consumer.poll(max_records=1, max_bytes=1, timeout_s=60.0))
        for consumer in (joining, reading)
    ]
    await asyncio.sleep(0.01)
    async with asyncio.timeout(20):
        await kafka.close()
        for poll in polls:
            with pytest.raises(ClosedError):
                await poll
