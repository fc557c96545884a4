"""The lake writer's own part: what it drops, what it waits for, what ends it, what it reports."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from ingest_service.land.lost import past_loss
from ingest_service.land.metrics import LAND_METRICS
from ingest_service.land.reports import Checkpoints
from ingest_service.land.unwrap import unwrapper
from ingest_service.land.writer import LakeWriter
from millrace.events.v1 import envelope_pb2
from millrace_ports.errors import ConfigurationError
from millrace_runtime.clock import SYSTEM_CLOCK
from millrace_runtime.process import CannotGoOnError

from .conftest import Landing, message
from .kafka import TOPIC, Topic, foreign, relayed
from .memory_bus import MemoryBus

WITHIN_S = 20.0


def lake_writer(bus: MemoryBus, landing: Landing, **changes: Any) -> LakeWriter:
    metadata = landing.root / "metadata"
    arguments: dict[str, Any] = {"max_rows": 1000, "max_bytes": 1 << 20, "interval_s": 0.0} | changes
    return LakeWriter(
        bus, landing.lander,
        lake=landing.lake, metadata=metadata, checkpoints=Checkpoints(metadata / "checkpoints", landing.root),
        clock=SYSTEM_CLOCK, metrics=LAND_METRICS.build(CollectorRegistry()), **arguments,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def running(writer: LakeWriter) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(writer.run(stop))
    try:
        yield
        stop.set()
        await asyncio.wait_for(task, WITHIN_S)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110 - of another task, which has no event for it
            await asyncio.sleep(0.01)


def made(topic: Topic) -> MemoryBus:
    bus = MemoryBus(topic)
    bus.made |= {TOPIC, "lake.commits"}
    return bus


async def test_it_lands_all_partitions_and_says_how_far_it_is(landing: Landing) -> None:
    topic = Topic("topic-id", 2)
    topic.publish(foreign(*(message(str(n)) for n in range(7)), b"", b"bad"))
    bus = MemoryBus(topic)  # a fresh installation: it makes both topics
    writer = lake_writer(bus, landing)
    async with running(writer):
        await until(lambda: writer.totals.lines == 9)
    assert len(landing.rows("messages")) == 7
    assert bus.made == {TOPIC, "lake.commits"}
    assert bus.reported == {topic.partitions[0]: 5, topic.partitions[1]: 4}
    file = landing.root / "metadata" / "checkpoints" / "webhook.messages-0-topic-id_checkpoint.json"
    checkpoint = json.loads(file.read_bytes())
    assert checkpoint["source_file"] == "kafka:webhook.messages/0"
    assert (checkpoint["last_processed_line"], checkpoint["processed_record_count"]) == (5, 5)
    assert checkpoint["status"] == "completed"
    topic_of_hint, hint = bus.published[-1]
    assert (topic_of_hint, json.loads(hint)["rows"]) == ("lake.commits", 7)


async def test_a_topic_that_was_removed_is_not_made_again(landing: Landing) -> None:
    """Whoever removed it may want to make it otherwise."""
    bus = made(Topic("topic-id", 1))
    writer = lake_writer(bus, landing)
    async with running(writer):
        await until(lambda: writer._positions.asked)
        bus.made.discard(TOPIC)
        await until(lambda: bool(writer._trouble))
        assert TOPIC not in bus.made
        bus.made.add(TOPIC)
        await until(lambda: not writer._trouble)


async def test_a_topic_is_made_however_long_the_bus_takes_to_say_that_it_is_missing(landing: Landing) -> None:
    """Polls end empty meanwhile, as Kafka's do while a broker is slow to answer."""
    bus = MemoryBus(Topic("topic-id", 1))
    bus.empty_polls = 3
    async with running(lake_writer(bus, landing)):
        await until(lambda: TOPIC in bus.made)


async def test_only_what_another_writer_moved_is_read_again(
    landing: Landing, another: Callable[[], Landing], monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = Topic("topic-id", 3)
    topic.publish(foreign(*(message(str(n)) for n in range(9))))
    other = another()
    commit = landing.lander.commit

    def overtaken(batch: Any) -> Any:
        monkeypatch.undo()
        other.take(topic.chunk(topic.partitions[1], 0, 2))
        return commit(batch)

    monkeypatch.setattr(landing.lander, "commit", overtaken)
    bus = made(topic)
    writer = lake_writer(bus, landing)
    async with running(writer):
        await until(lambda: landing_is_at(other, topic, [3, 3, 3]))
    assert set(bus.resets) == {topic.partitions[1]}
    assert sorted(row["msg_id"] for row in landing.rows("messages")) == [str(n) for n in range(9)]
    assert writer.totals.messages == 7


def landing_is_at(landing: Landing, topic: Topic, positions: list[int]) -> bool:
    return [landing.lander.position(partition) for partition in topic.partitions] == positions


async def test_records_that_are_gone_end_it_with_what_to_do(
    landing: Landing, another: Callable[[], Landing]
) -> None:
    topic = Topic("topic-id", 4)
    values = [json.dumps(message(str(n))).encode() for n in range(40)]
    topic.publish([*relayed(values[:20]), *relayed(values[20:], door="door-2", day="2026-03-15")])
    chunks = [topic.chunk(partition, 0, 7) for partition in topic.partitions]
    another().take(*chunks)
    bus = made(topic)
    bus.first = {topic.partitions[1]: 9, topic.partitions[2]: 8, topic.partitions[3]: 10}
    with pytest.raises(CannotGoOnError) as ended:
        await asyncio.wait_for(lake_writer(bus, landing).run(asyncio.Event()), WITHIN_S)
    text = str(ended.value)
    assert "topic-id/1: records 8 to 8" in text
    assert "topic-id/3: records 8 to 9" in text
    assert "topic-id/2" not in text  # it begins where the lake is
    marks = landing.lander.relayed(topic.partitions[1]), landing.lander.relayed(topic.partitions[3])
    for door in ("door-1", "door-2"):
        day, line = min(mark[door] for mark in marks)
        assert f"ingest-service replay --door {door} --from {day}:{line}\n" in text
    assert "MILLRACE_LAND_PAST_LOSS=topic-id/1@8,topic-id/3@9" in text
    assert landing.lander.position(topic.partitions[1]) == 7  # nothing is skipped by itself

    after = lake_writer(bus, another(), past_loss=past_loss("topic-id/1@8,topic-id/3@9"))
    async with running(after):
        await until(lambda: landing_is_at(landing, topic, [10, 10, 10, 10]))
    assert len(landing.rows("messages")) == 40 - 3


async def test_a_body_that_is_away_holds_up_and_heals(landing: Landing) -> None:
    objects: dict[str, bytes] = {}

    def read(path: str) -> bytes:
        if path not in objects:
            raise FileNotFoundError(path)
        return objects[path]

    reference = envelope_pb2.Envelope(
        source="wechat", content_type="application/vnd.millrace.reference", body=b"bodies/1"
    ).SerializeToString()
    topic = Topic("topic-id", 1)
    topic.publish(relayed([json.dumps(message("1")).encode(), reference]))
    writer = lake_writer(made(topic), landing, unwrap=unwrapper(read))
    async with running(writer):
        await until(lambda: "bodies/1" in writer._trouble)
        with pytest.raises(RuntimeError, match="MILLRACE_OBJECTS"):
            await writer.check()
        assert landing.rows("messages") == []
        objects["bodies/1"] = json.dumps(message("2")).encode()
        await until(lambda: writer.totals.messages == 2)
        await writer.check()
    assert landing.rows("dead_letters") == []


def test_losses_are_named_exactly() -> None:
    assert past_loss(" id/0@5, id/11@7 ,") == {"id/0": 5, "id/11": 7}
    assert past_loss("") == {}
    for wrong in ("id/0", "id@5", "id/x@5", "id/0@-5", "id/0@", "/0@5", "all"):
        with pytest.raises(ConfigurationError, match="MILLRACE_LAND_PAST_LOSS"):
            past_loss(wrong)
