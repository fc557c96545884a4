"""What every bus adapter must do. Subclass and give the fixture `bus`."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Sequence

import pytest

from millrace_ports.bus import TRACEPARENT, Bus, Chunk, Consumer, Partition, Record
from millrace_ports.errors import ClosedError, InvalidRecordError

QUIET_S = 0.3
ARRIVAL_S = 20.0


class KeptPositions:
    """An owner of positions that remembers what was consumed, and what it was asked."""

    def __init__(self) -> None:
        self.consumed: dict[Partition, int] = {}
        self.started: list[Partition] = []
        self.truncations: list[tuple[Partition, int, int]] = []

    async def start(self, partition: Partition) -> int:
        self.started.append(partition)
        return self.consumed.get(partition, 0)

    async def truncated(self, partition: Partition, position: int, available: int) -> int:
        self.truncations.append((partition, position, available))
        return 0

    def take(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            self.consumed[chunk.partition] = chunk.end


def records(*texts: str, key: bytes = b"k") -> list[Record]:
    """Records of one key, so that they keep their order in any adapter."""
    return [Record(f'{{"n":"{text}"}}'.encode(), key) for text in texts]


def values_of(chunks: Sequence[Chunk]) -> list[bytes]:
    return [value for chunk in chunks for value in chunk.values]


async def read(
    consumer: Consumer, count: int, *, max_records: int = 1000, max_bytes: int = 8_000_000
) -> list[Chunk]:
    """Poll until `count` records have come."""
    chunks: list[Chunk] = []
    async with asyncio.timeout(ARRIVAL_S):
        while sum(len(chunk.values) for chunk in chunks) < count:
            chunks += await consumer.poll(max_records=max_records, max_bytes=max_bytes, timeout_s=1.0)
    return chunks


async def quiet(consumer: Consumer) -> bool:
    """Whether nothing more comes."""
    return not await consumer.poll(max_records=1000, max_bytes=8_000_000, timeout_s=QUIET_S)


class BusContract:
    """The suite; an adapter's test class inherits it unchanged.

    A subclass has a fixture `bus` with empty topics of the names that `topic` and `other_topic` give, closed
    afterwards.
    """

    @pytest.fixture
    def topic(self) -> str:
        """Name of an empty topic, one that a test before may have had if the bus is another one."""
        return "lake.commits"

    @pytest.fixture
    def other_topic(self) -> str:
        """Name of another empty topic."""
        return "other.topic"

    async def test_records_come_in_order_and_numbered(self, bus: Bus, topic: str) -> None:
        published = records("一", "two 🚲", "3", "", key=b"one")
        await bus.publish(topic, published[:2])
        await bus.publish(topic, published[2:])
        consumer = bus.consumer(topic, "group", KeptPositions())
        chunks = await read(consumer, 4)
        assert values_of(chunks) == [record.value for record in published]
        assert len({chunk.partition for chunk in chunks}) == 1
        position = 0
        for chunk in chunks:
            assert chunk.start == position
            assert list(chunk.offsets) == list(range(chunk.start + 1, chunk.end + 1))
            assert len(chunk.values) == len(chunk.offsets) == len(chunk.received_at_ms)
            assert list(chunk.received_at_ms) == sorted(chunk.received_at_ms)
            position = chunk.end
        assert position == 4

    async def test_a_waiting_consumer_gets_what_is_published_later(self, bus: Bus, topic: str) -> None:
        consumer = bus.consumer(topic, "group", KeptPositions())
        assert await quiet(consumer)
        await bus.publish(topic, records("late"))
        assert values_of(await read(consumer, 1)) == [b'{"n":"late"}']
        assert await quiet(consumer)

    async def test_reading_begins_where_the_owner_says(self, bus: Bus, topic: str) -> None:
        await bus.publish(topic, records("1", "2", "3"))
        positions = KeptPositions()
        first = bus.consumer(topic, "group", positions)
        chunks = await read(first, 2, max_records=2)
        positions.take(chunks)
        await first.close()
        second = bus.consumer(topic, "group", positions)
        chunks = await read(second, 1)
        assert values_of(chunks) == [b'{"n":"3"}']
        assert chunks[0].start == 2
        assert await quiet(second)
        assert positions.truncations == []

    async def test_reported_positions_are_not_the_authority(self, bus: Bus, topic: str) -> None:
        await bus.publish(topic, records("1", "2"))
        first = bus.consumer(topic, "group", KeptPositions())
        chunks = await read(first, 2)
        await first.ensure_durable(chunks)
        await first.report({chunk.partition: chunk.end for chunk in chunks})
        await first.close()
        second = bus.consumer(topic, "group", KeptPositions())
        assert len(values_of(await read(second, 2))) == 2

    async def test_polls_respect_the_number_of_records(self, bus: Bus, topic: str) -> None:
        published = records(*map(str, range(25)))
        await bus.publish(topic, published)
        consumer = bus.consumer(topic, "group", KeptPositions())
        seen: list[bytes] = []
        while len(seen) < 25:
            values = values_of(await consumer.poll(max_records=10, max_bytes=1_000_000, timeout_s=5.0))
            assert 1 <= len(values) <= 10
            seen += values
        assert seen == [record.value for record in published]

    async def test_polls_respect_the_number_of_bytes(self, bus: Bus, topic: str) -> None:
        published = [Record(b"x" * 1000, b"k") for _ in range(10)]
        await bus.publish(topic, published)
        consumer = bus.consumer(topic, "group", KeptPositions())
        seen = 0
        while seen < 10:
            values = values_of(await consumer.poll(max_records=100, max_bytes=3500, timeout_s=5.0))
            assert 1 <= len(values) <= 3
            seen += len(values)

    async def test_a_record_larger_than_a_poll_comes_alone(self, bus: Bus, topic: str) -> None:
        large = b"y" * 300_000
        await bus.publish(topic, [Record(b"a", b"k"), Record(large, b"k"), Record(b"b", b"k")])
        consumer = bus.consumer(topic, "group", KeptPositions())
        polls: list[list[bytes]] = []
        while sum(map(len, polls)) < 3:
            polls.append(values_of(await consumer.poll(max_records=100, max_bytes=1000, timeout_s=5.0)))
        assert polls == [[b"a"], [large], [b"b"]]

    async def test_a_bad_record_is_named_and_nothing_is_written(self, bus: Bus, topic: str) -> None:
        bad = [*records("1", "2"), Record(b"two\nlines", b"k")]
        with pytest.raises(InvalidRecordError, match="2") as caught:
            await bus.publish(topic, bad)
        assert caught.value.index == 2
        assert not caught.value.retryable
        await bus.publish(topic, [])
        await bus.publish(topic, records("good"))
        consumer = bus.consumer(topic, "group", KeptPositions())
        assert values_of(await read(consumer, 1)) == [b'{"n":"good"}']
        assert await quiet(consumer)

    async def test_a_trace_context_is_told_to_whoever_asks(self, bus: Bus, topic: str) -> None:
        contexts = {number: f"00-{number:032x}-{number:016x}-01" for number in (2, 3, 7)}
        published = [
            Record(b"%d" % number, b"k", {TRACEPARENT: contexts[number]} if number in contexts else {})
            for number in range(1, 9)
        ]
        await bus.publish(topic, published[:5])
        await bus.publish(topic, published[5:])
        positions = KeptPositions()
        for max_records in (2, 1000):
            chunks = await read(
                bus.consumer(topic, f"by-{max_records}", positions, traced=True), 8, max_records=max_records
            )
            assert {n: text for chunk in chunks for n, text in (chunk.traceparents or {}).items()} == contexts
            assert all(chunk.start < n <= chunk.end for chunk in chunks for n in chunk.traceparents or ())
        silent = await read(bus.consumer(topic, "silent", positions), 8)
        assert {chunk.traceparents for chunk in silent} == {None}

    async def test_reset_asks_the_owner_again(self, bus: Bus, topic: str) -> None:
        await bus.publish(topic, records("1", "2", "3"))
        positions = KeptPositions()
        consumer = bus.consumer(topic, "group", positions)
        chunks = await read(consumer, 3)
        partition = chunks[0].partition
        positions.consumed[partition] = 1
        await consumer.reset(partition)
        again = await read(consumer, 2)
        assert values_of(again) == [b'{"n":"2"}', b'{"n":"3"}']
        assert positions.started.count(partition) == 2

    async def test_groups_are_independent(self, bus: Bus, topic: str) -> None:
        await bus.publish(topic, records("1", "2"))
        for group in ("a", "b"):
            assert len(values_of(await read(bus.consumer(topic, group, KeptPositions()), 2))) == 2

    async def test_topics_are_independent(self, bus: Bus, topic: str, other_topic: str) -> None:
        await bus.publish(topic, records("1"))
        await bus.publish(other_topic, records("2"))
        consumer = bus.consumer(other_topic, "group", KeptPositions())
        assert values_of(await read(consumer, 1)) == [b'{"n":"2"}']
        assert await quiet(consumer)

    async def test_lag_counts_what_is_not_delivered(self, bus: Bus, topic: str) -> None:
        await bus.publish(topic, records("1", "2", "3"))
        consumer = bus.consumer(topic, "group", KeptPositions())
        await read(consumer, 1, max_records=1)
        assert sum((await consumer.lag()).values()) == 2
        await read(consumer, 2)
        assert sum((await consumer.lag()).values()) == 0
        await bus.publish(topic, records("4"))
        assert sum((await consumer.lag()).values()) == 1

    async def test_a_cancelled_poll_loses_nothing(self, bus: Bus, topic: str) -> None:
        consumer = bus.consumer(topic, "group", KeptPositions())
        seen: list[bytes] = []
        for number in range(30):
            waiting = asyncio.create_task(consumer.poll(max_records=100, max_bytes=1_000_000, timeout_s=5.0))
            await bus.publish(topic, records(str(number)))
            await asyncio.sleep(number * 0.0005)  # cancel at different moments of a poll
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                seen += values_of(await waiting)
        seen += values_of(await read(consumer, 30 - len(seen))) if len(seen) < 30 else []
        assert seen == [record.value for record in records(*map(str, range(30)))]

    async def test_many_publishers_lose_and_mix_nothing(self, bus: Bus, topic: str) -> None:
        async def publish(name: str) -> None:
            for number in range(20):
                await bus.publish(topic, records(f"{name}-{number}", key=name.encode()))

        await asyncio.gather(*(publish(name) for name in "abcdefgh"))
        consumer = bus.consumer(topic, "group", KeptPositions())
        by_publisher: dict[str, list[int]] = defaultdict(list)
        for value in values_of(await read(consumer, 160)):
            name, _, number = value.decode().removeprefix('{"n":"').removesuffix('"}').partition("-")
            by_publisher[name].append(int(number))
        assert by_publisher == {name: list(range(20)) for name in "abcdefgh"}
        assert await quiet(consumer)

    async def test_what_is_closed_says_so(self, bus: Bus, topic: str) -> None:
        consumer = bus.consumer(topic, "group", KeptPositions())
        await consumer.close()
        await consumer.close()
        with pytest.raises(ClosedError):
            await consumer.poll(max_records=1, max_bytes=1, timeout_s=0.0)
        await bus.close()
        with pytest.raises(ClosedError):
            await bus.publish(topic, records("1"))
        with pytest.raises(ClosedError):
            bus.consumer(topic, "group", KeptPositions())
