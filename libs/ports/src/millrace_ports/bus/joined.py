"""Several consumers of one topic as one: the journals of a door, and those of doors that were before it."""

import asyncio
from collections.abc import Mapping, Sequence

from millrace_ports.bus.port import Chunk, Consumer, Partition


class JoinedConsumer:
    """`millrace_ports.bus.port.Consumer` over several, in turn, so that a long journal of one keeps no other waiting.

    Args:
        current: reads what still grows; every partition that is none of the others'.
        former: the others, by the door with which the names of their partitions begin.
    """

    def __init__(self, current: Consumer, former: Mapping[str, Consumer]) -> None:
        self._current = current
        self._former = former
        self._all = [current, *former.values()]
        self._next = 0

    async def poll(self, *, max_records: int, max_bytes: int, timeout_s: float) -> list[Chunk]:
        """See the port; all chunks are of one of the consumers."""
        for _ in self._all:
            consumer = self._all[self._next]
            self._next = (self._next + 1) % len(self._all)
            found = await consumer.poll(max_records=max_records, max_bytes=max_bytes, timeout_s=0)
            if found:
                return found
        return await self._current.poll(max_records=max_records, max_bytes=max_bytes, timeout_s=timeout_s)

    async def ensure_durable(self, chunks: Sequence[Chunk]) -> None:
        """See the port."""
        for consumer in self._all:
            if own := [chunk for chunk in chunks if self._of(chunk.partition) is consumer]:
                await consumer.ensure_durable(own)

    async def reset(self, partition: Partition) -> None:
        """See the port."""
        await self._of(partition).reset(partition)

    async def report(self, positions: Mapping[Partition, int]) -> None:
        """See the port."""
        for consumer in self._all:
            await consumer.report({name: n for name, n in positions.items() if self._of(name) is consumer})

    async def lag(self) -> Mapping[Partition, int]:
        """See the port."""
        lag: dict[Partition, int] = {}
        for consumer in self._all:
            lag |= await consumer.lag()
        return lag

    async def close(self) -> None:
        """See the port."""
        await asyncio.gather(*(consumer.close() for consumer in self._all))

    def _of(self, partition: Partition) -> Consumer:
        return self._former.get(partition.name.rpartition("/")[0], self._current)
