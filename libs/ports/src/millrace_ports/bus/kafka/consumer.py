"""Consumer on Kafka: a member of a group whose partitions come and go, and whose positions are the owner's.

aiokafka fetches in the background. What it says about positions is not relied on: each partition has its own
`Place` here, and after any trouble aiokafka is set back to it, since it may have moved past records it never gave.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from aiokafka import TopicPartition
from aiokafka import errors as aio

from millrace_ports.bus.kafka.admin import KafkaAdmin, TopicState
from millrace_ports.bus.kafka.fetched import Fetched, Place
from millrace_ports.bus.kafka.membership import Member
from millrace_ports.bus.kafka.probe import probe
from millrace_ports.bus.kafka.settings import KafkaSettings
from millrace_ports.bus.kafka.translate import FORBIDDEN, kafka_errors, translated
from millrace_ports.bus.port import Chunk, Partition, Positions
from millrace_ports.errors import ClosedError, PositionError, RecordsLostError, StorageUnavailableError

_LOOKED_FOR_S = 5.0
_ANSWER_WITHIN_S = 5.0
_FETCH_MS = 200

_T = TypeVar("_T")
_Records = Mapping[TopicPartition, Sequence[Any]]


class KafkaConsumer:
    """`millrace_ports.bus.port.Consumer` over the partitions that the group gives to this member.

    A position past the end of a partition is an error: Kafka has lost records that it had called durable.
    The topic is looked up on each assignment, when no record came for 5 s, and after records came before they are
    called durable: one that was deleted and made again has another id and other partitions.
    """

    def __init__(
        self,
        topic: str,
        group: str,
        positions: Positions,
        *,
        settings: KafkaSettings,
        admin: KafkaAdmin,
        monotonic: Callable[[], float],
        traced: bool = False,
    ) -> None:
        self._monotonic = monotonic
        self._topic = topic
        self._group = group
        self._positions = positions
        self._settings = settings
        self._admin = admin
        self._closed = False
        self._member: Member | None = None
        self._tasks: dict[str, asyncio.Task[Any]] = {}  # outlive the poll that began them
        self._leaving: set[asyncio.Task[None]] = set()
        self._generation = 0  # of what is known about the partitions
        self._looked_generation = -1
        self._looked_at = self._seen_at = self._came_at = float("-inf")
        self._state: TopicState | None = None
        self._unplaced: set[TopicPartition] = set()  # assigned, and their owner not asked yet
        self._places: dict[TopicPartition, Place] = {}
        self._fetched = Fetched(traced)

    async def poll(self, *, max_records: int, max_bytes: int, timeout_s: float) -> list[Chunk]:
        """See the port."""
        deadline = time.monotonic() + timeout_s
        while await self._ready(deadline):
            if found := self._fetched.take(max_records, max_bytes):
                self._seen_at = self._monotonic()
                return found
            if not await self._fetch(max_records, deadline):
                break
        return []

    async def ensure_durable(self, chunks: Sequence[Chunk]) -> None:
        """See the port: Kafka delivers only what all replicas in sync have. Looks whether it is the same topic.

        Records are fetched by the topic's name. Only a look that began after they came proves whose they are: a
        topic that was still the former one then cannot have been the new one before.
        """
        self._raise_if_closed()
        if self._state is None or self._looked_at <= self._came_at:
            await self._look()
        assert self._state is not None
        for chunk in chunks:
            if chunk.partition.name.rpartition("/")[0] != self._state.id:
                raise StorageUnavailableError(
                    f"topic {self._topic} was deleted and made again; what was read of the former one is void"
                )

    async def reset(self, partition: Partition) -> None:
        """See the port. A partition that is not this member's any more is left alone."""
        self._raise_if_closed()
        for number, place in list(self._places.items()):
            if place.partition == partition:
                self._forget(number)

    async def report(self, positions: Mapping[Partition, int]) -> None:
        """See the port: as offsets of the group, of those partitions that are still this member's."""
        self._raise_if_closed()
        offsets = {
            number: place.read_to if place.delivered == position else position
            for number, place in self._places.items()
            if (position := positions.get(place.partition)) is not None
        }
        if self._member is not None and offsets:
            with kafka_errors(f"report the progress of group {self._group}"):
                async with asyncio.timeout(_ANSWER_WITHIN_S):
                    await self._member.driver.commit(offsets)

    async def lag(self) -> Mapping[Partition, int]:
        """See the port; of the partitions that are this member's and whose owner was asked."""
        self._raise_if_closed()
        if self._member is None or not self._places:
            return {}
        places = dict(self._places)
        with kafka_errors(f"look up the end of topic {self._topic}"):
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                ends = await self._member.driver.end_offsets(list(places))
        return {place.partition: max(0, ends[number] - place.read_to) for number, place in places.items()}

    async def close(self) -> None:
        """See the port."""
        if self._closed:
            return
        self._closed = True
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._leave()
        if self._leaving:
            await asyncio.wait(self._leaving)

    async def _ready(self, deadline: float) -> bool:
        """Whether, before the deadline, this is a member of the group and knows where to read on."""
        while True:
            self._raise_if_closed()
            if self._member is None:
                task = await self._within(deadline, "join", self._join)
            elif self._topic_is_stale():
                task = await self._within(deadline, "look", self._look)
            elif self._unplaced:
                await self._place(min(self._unplaced))
                continue
            else:
                return True
            if task is None:
                return False
            task.result()

    async def _within(
        self, deadline: float, name: str, work: Callable[[], Coroutine[Any, Any, _T]]
    ) -> asyncio.Task[_T] | None:
        """The task of `work` when it has ended by the deadline, else None.

        Then, or when this is cancelled, it goes on, and the next call with this name waits for it. Raises ClosedError.
        """
        task = self._tasks.get(name)
        if task is None:
            task = self._tasks[name] = asyncio.create_task(work())
        await asyncio.wait({task}, timeout=max(0.0, deadline - time.monotonic()))
        self._raise_if_closed()
        if not task.done():
            return None
        self._tasks.pop(name, None)
        return task

    async def _join(self) -> None:
        await probe(self._settings)
        await self._look()
        member = Member(self._topic, self._group, self._settings, self._assign)
        await member.join()
        self._member = member

    async def _look(self) -> None:
        """Begin anew when the topic is not the one it was. Raises PortError."""
        generation, began_at = self._generation, self._monotonic()
        state = await self._admin.topic(self._topic)
        former, self._state = self._state, state
        self._looked_generation, self._looked_at = generation, began_at
        if former is not None and former.id != state.id:
            self._leave()  # the driver would go on as if nothing had happened, or believe it has no partitions

    def _topic_is_stale(self) -> bool:
        quiet_s = self._monotonic() - max(self._looked_at, self._seen_at)
        return self._looked_generation != self._generation or quiet_s > _LOOKED_FOR_S

    def _assign(self, assigned: set[TopicPartition]) -> None:
        """All partitions of this member from now on: where it was before, others may have read on."""
        self._generation += 1
        self._places.clear()
        self._fetched.clear()
        self._unplaced = assigned

    def _forget(self, number: TopicPartition) -> None:
        assert self._member is not None
        self._generation += 1
        self._fetched.forget(self._places.pop(number))
        self._member.driver.pause(number)
        self._unplaced.add(number)

    async def _place(self, number: TopicPartition) -> None:
        """Ask the owner where to read on, and go there unless the partition has changed meanwhile."""
        generation, state, member = self._generation, self._state, self._member
        assert state is not None
        assert member is not None
        partition = state.partition(number.partition)
        position = await self._positions.start(partition)
        if generation != self._generation or state != self._state or self._closed:
            return
        if position < 0:
            raise PositionError(f"{partition.name} cannot start at {position}")
        self._unplaced.discard(number)
        self._places[number] = Place(partition, position, position, position)
        member.driver.seek(number, position)
        member.driver.resume(number)

    async def _fetch(self, max_records: int, deadline: float) -> bool:
        """Wait a moment for records and queue what came; False when the deadline has come."""
        task = await self._within(deadline, "fetch", lambda: self._get(max_records))
        if task is None:
            return False
        if task.cancelled():  # by whoever saw that this membership is over
            return time.monotonic() < deadline
        try:
            places, records = task.result()
        except aio.OffsetOutOfRangeError as error:
            self._rewind()
            await self._explain(list(error.args[0]))
        except FORBIDDEN as error:
            self._rewind()
            raise translated(f"read topic {self._topic} as group {self._group}", error) from error
        except Exception as error:  # what the driver did not foresee is its own end, not the owner's
            self._leave()
            raise translated(f"read topic {self._topic}", error) from error
        else:
            if self._member is not None:
                await self._take_in(self._member.driver, places, records)
        return time.monotonic() < deadline

    async def _get(self, max_records: int) -> tuple[dict[TopicPartition, Place], _Records]:
        assert self._member is not None
        places = dict(self._places)
        # Without any name it would be all partitions, those too whose owner was not asked.
        names = tuple(places) or (TopicPartition(self._topic, -1),)
        return places, await self._member.driver.getmany(
            *names, timeout_ms=_FETCH_MS, max_records=max(1, max_records)
        )

    async def _take_in(self, driver: Any, places: Mapping[TopicPartition, Place], records: _Records) -> None:
        """Queue records of places that are what they were when the fetch began; others are fetched again."""
        for number, found in records.items():
            place = self._places.get(number)
            if place is None:
                continue
            if place is places.get(number):
                self._came_at = self._monotonic()
                self._fetched.add(place, found)
            else:
                driver.seek(number, place.passed)
        for number, place in list(self._places.items()):
            if place is places.get(number):
                place.passed = max(place.passed, await driver.position(number))  # known, so it does not wait

    def _rewind(self) -> None:
        assert self._member is not None
        for number, place in self._places.items():
            self._member.driver.seek(number, place.passed)

    async def _explain(self, numbers: Sequence[TopicPartition]) -> None:
        """Return when positions were out of range because the topic is another one; else say what was lost."""
        await self._look()
        for number in numbers:
            place, member = self._places.get(number), self._member
            if place is None or member is None:
                continue
            with kafka_errors(f"look up the ends of {place.partition.name}"):
                async with asyncio.timeout(_ANSWER_WITHIN_S):
                    first = (await member.driver.beginning_offsets([number]))[number]
                    end = (await member.driver.end_offsets([number]))[number]
            if place.passed < first:
                raise RecordsLostError(place.partition.name, place.read_to, first + 1)
            if place.passed > end:
                raise PositionError(
                    f"{place.partition.name} ends at number {end}, and its owner has consumed number {place.passed}"
                )

    def _leave(self) -> None:
        member, self._member = self._member, None
        self._assign(set())
        fetch = self._tasks.pop("fetch", None)
        if fetch is not None:
            fetch.cancel()
        if member is not None:
            task = asyncio.create_task(member.leave())
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise ClosedError(f"the consumer of {self._topic} is closed")
