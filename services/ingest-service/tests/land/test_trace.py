"""Landing in the traces of sampled records: one span each, from its reading to the commit that has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from deltalake.exceptions import DeltaError

from ingest_service.land.trace import MOST_SPANS
from ingest_service.land.writer import LakeWriter
from millrace_runtime.tracing import tracer
from millrace_runtime.tracing.traceparent import written
from millrace_testkit.otlp import OtlpReceiver, SpanSeen

from .conftest import Landing, message
from .kafka import Topic, foreign, relayed
from .memory_bus import MemoryBus
from .test_writer import lake_writer, landing_is_at, made, running, until


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


def encoded(*numbers: int) -> list[bytes]:
    return [value for value, _, _ in foreign(*(message(str(number)) for number in numbers))]


def traced_writer(bus: MemoryBus, landing: Landing) -> LakeWriter:
    return lake_writer(bus, landing, tracer=tracer("ingest-service"))


def landed(receiver: OtlpReceiver) -> dict[int, list[SpanSeen]]:
    """The spans of landing, by the number that their trace has."""
    found: dict[int, list[SpanSeen]] = {}
    for span in receiver.spans:
        if span.kind == "consumer":
            found.setdefault(int(span.trace, 16), []).append(span)
    return found


async def test_a_sampled_record_has_a_span_and_its_commit_another(
    landing: Landing, receiver: OtlpReceiver
) -> None:
    topic = Topic("topic-id", 1)
    [partition] = topic.partitions
    topic.publish([*relayed(encoded(1, 2)), *foreign(message("3"), message("4"))])
    topic.traceparents = {partition: {2: written(2, 22), 3: written(3, 33)}}
    async with receiver.exporting():
        writer = traced_writer(made(topic), landing)
        async with running(writer):
            await until(lambda: writer.totals.lines == 4)
    spans = landed(receiver)
    assert {number: len(each) for number, each in spans.items()} == {2: 1, 3: 1}
    for number, origin in ((2, "door-1/2026-03-14/2/0"), (3, "topic-id/0/webhook.messages/3/0")):
        [span] = spans[number]
        assert (span.name, span.parent) == ("land webhook.messages", f"{number * 11:016x}")
        assert span.attributes["millrace.origin"] == origin
        [commit] = [other for other in receiver.spans if other.parent == span.id]
        assert (commit.name, commit.trace) == ("commit lake", span.trace)
        assert commit.attributes == {
            "millrace.lake.version": landing.lander.versions()["messages"],
            "millrace.lines": 4,
        }
        assert span.start_ns <= commit.start_ns <= commit.end_ns == span.end_ns
    assert len(receiver.spans) == 4


async def test_a_row_says_the_origin_that_the_spans_have(landing: Landing, receiver: OtlpReceiver) -> None:
    """So that whoever finds the row finds the trace."""
    topic = Topic("topic-id", 1)
    topic.publish([*relayed(encoded(1)), *foreign(message("2"))])
    topic.traceparents = {topic.partitions[0]: {1: written(1, 1), 2: written(2, 2)}}
    async with receiver.exporting():
        writer = traced_writer(made(topic), landing)
        async with running(writer):
            await until(lambda: writer.totals.lines == 2)
    rows = {
        "/".join(
            (
                row["src_door"],
                row["src_file"].removesuffix(".jsonl"),
                str(row["src_line"]),
                str(row["src_element"]),
            )
        )
        for row in landing.rows("messages")
    }
    assert rows == {spans[0].attributes["millrace.origin"] for spans in landed(receiver).values()}


async def test_strangers_turn_on_so_many_spans_and_relays_all(
    landing: Landing, receiver: OtlpReceiver
) -> None:
    topic = Topic("topic-id", 2)
    for place, entries in enumerate(
        (relayed(encoded(*range(50))), foreign(*map(message, map(str, range(50, 100)))))
    ):
        topic._records[topic.partitions[place]] += entries
    topic.traceparents = {
        partition: {number: written(1 + number + 100 * place, 1) for number in range(1, 51)}
        for place, partition in enumerate(topic.partitions)
    }
    async with receiver.exporting(TRACE_CALLERS_PER_S=5):
        writer = traced_writer(made(topic), landing)
        async with running(writer):
            await until(lambda: writer.totals.lines == 100)
    numbers = landed(receiver)
    assert sum(number < 100 for number in numbers) == 50
    assert 5 <= sum(number > 100 for number in numbers) <= 10


async def test_a_record_whose_batch_failed_has_one_span_when_it_lands(
    landing: Landing, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = Topic("topic-id", 1)
    topic.publish(relayed(encoded(1)))
    topic.traceparents = {topic.partitions[0]: {1: written(1, 1)}}
    commit = landing.lander.commit

    def full(batch: Any) -> Any:
        monkeypatch.setattr(landing.lander, "commit", commit)
        raise DeltaError("no space left")

    monkeypatch.setattr(landing.lander, "commit", full)
    async with receiver.exporting():
        writer = traced_writer(made(topic), landing)
        async with running(writer):
            await until(lambda: writer.totals.lines == 1)
        assert writer._traces is not None
        assert writer._traces._open == {}
    assert len(landed(receiver)[1]) == 1
    assert not landed(receiver)[1][0].failed


async def test_what_another_writer_landed_has_no_span_here(
    landing: Landing, another: Callable[[], Landing], receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = Topic("topic-id", 2)
    topic.publish(foreign(*(message(str(n)) for n in range(4))))
    topic.traceparents = {
        partition: {number: written(10 * place + number, 1) for number in (1, 2)}
        for place, partition in enumerate(topic.partitions)
    }
    other = another()
    commit = landing.lander.commit

    def overtaken(batch: Any) -> Any:
        monkeypatch.undo()
        other.take(topic.chunk(topic.partitions[1], 0, 2))
        return commit(batch)

    monkeypatch.setattr(landing.lander, "commit", overtaken)
    async with receiver.exporting():
        writer = traced_writer(made(topic), landing)
        async with running(writer):
            await until(lambda: landing_is_at(other, topic, [2, 2]))
        assert writer._traces is not None
        assert writer._traces._open == {}
    assert sorted(landed(receiver)) == [1, 2]


async def test_so_many_records_are_followed_at_a_time(landing: Landing, receiver: OtlpReceiver) -> None:
    count = MOST_SPANS + 40
    topic = Topic("topic-id", 1)
    topic.publish(relayed(encoded(*range(count))))
    topic.traceparents = {topic.partitions[0]: {number: written(number, 1) for number in range(1, count + 1)}}
    async with receiver.exporting():
        writer = traced_writer(made(topic), landing)
        async with running(writer):
            await until(lambda: writer.totals.lines == count)
    assert MOST_SPANS <= len(landed(receiver)) <= count
    assert len(landing.rows("messages")) == count


async def test_headers_that_are_none_change_nothing(landing: Landing, receiver: OtlpReceiver) -> None:
    topic = Topic("topic-id", 1)
    topic.publish(foreign(message("1"), message("2"), message("3")))
    topic.traceparents = {topic.partitions[0]: {1: "nonsense", 2: written(1, 1)[:-1] + "0", 3: "\ufffd" * 55}}
    async with receiver.exporting():
        writer = traced_writer(made(topic), landing)
        async with running(writer):
            await until(lambda: writer.totals.lines == 3)
    assert receiver.spans == []
    assert len(landing.rows("messages")) == 3
