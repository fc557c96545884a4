"""A bus in memory, with what Kafka does to a consumer: records that are gone, topics that are not there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from millrace_ports.bus.port import Chunk, Partition, Positions, Record
from millrace_ports.errors import RecordsLostError, TopicMissingError
from millrace_schemas.topics import Topic as Described

from .kafka import Topic


class MemoryBus:
    """One topic that is read; what is published is kept. `first` is the first record that a partition still has,
    `empty_polls` how many end before anything is known."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.first: dict[Partition, int] = {}
        self.made: set[str] = set()
        self.published: list[tuple[str, bytes]] = []
        self.empty_polls = 0
        self.resets: list[Partition] = []
        self.reported: dict[Partition, int] = {}

    async def ensure_topics(self, topics: Sequence[Described]) -> None:
        self.made |= {topic.name for topic in topics}

    async def publish(self, topic: str, records: Sequence[Record]) -> None:
        if topic not in self.made:
            raise TopicMissingError(topic)
        self.published += [(topic, record.value) for record in records]

    def consumer(
        self, topic: str, group: str, positions: Positions, *, traced: bool = False
    ) -> MemoryConsumer:
        return MemoryConsumer(self, topic, positions)

    async def close(self) -> None:
        pass


class MemoryConsumer:
    def __init__(self, bus: MemoryBus, topic: str, positions: Positions) -> None:
        self._bus = bus
        self._topic = topic
        self._positions = positions
        self._places: dict[Partition, int] = {}

    async def poll(self, *, max_records: int, max_bytes: int, timeout_s: float) -> list[Chunk]:
        if self._bus.empty_polls:
            self._bus.empty_polls -= 1
            return []
        if self._topic not in self._bus.made:
            raise TopicMissingError(self._topic)
        chunks = []
        for partition in self._bus.topic.partitions:
            if partition not in self._places:
                self._places[partition] = await self._positions.start(partition)
            place, first = self._places[partition], self._bus.first.get(partition, 1)
            if place < first - 1:
                raise RecordsLostError(partition.name, place, first)
            chunk = self._bus.topic.chunk(partition, place, place + max_records)
            if chunk.values:
                self._places[partition] = chunk.end
                chunks.append(chunk)
        if not chunks:
            await asyncio.sleep(min(timeout_s, 0.01))
        return chunks

    async def ensure_durable(self, chunks: Sequence[Chunk]) -> None:
        pass

    async def reset(self, partition: Partition) -> None:
        self._bus.resets.append(partition)
        self._places.pop(partition, None)

    async def report(self, positions: Mapping[Partition, int]) -> None:
        self._bus.reported |= positions

    async def lag(self) -> Mapping[Partition, int]:
        ends = {partition: self._bus.topic.chunk(partition).end for partition in self._places}
        return {partition: ends[partition] - place for partition, place in self._places.items()}

    async def close(self) -> None:
        pass
