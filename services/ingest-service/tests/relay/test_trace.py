"""The relay in the traces of sampled lines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest_service.relay.trace import MOST_SPANS
from millrace_ports.bus.port import Record
from millrace_ports.journal import JournalRoot, JournalWriter
from millrace_runtime.tracing.traceparent import written
from millrace_testkit.builders import batch, data_of, message
from millrace_testkit.clock import ManualClock
from millrace_testkit.otlp import OtlpReceiver
from millrace_testkit.recorded import RecordedBus

from .conftest import DAY, Running

WITHIN_S = 10.0


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
def journal(data: Path, clock: ManualClock) -> Iterator[JournalWriter]:
    writer = JournalWriter(JournalRoot(data / "messages" / "raw"), now_ms=clock.now_ms)
    yield writer
    writer.close()


def context(number: int) -> str:
    return written(number, number)


def header(record: Record) -> str | None:
    return record.headers.get("traceparent")


async def arrived(bus: RecordedBus, count: int) -> list[Record]:
    async with asyncio.timeout(WITHIN_S):
        while len(bus.records()) < count:  # noqa: ASYNC110 a file is looked at
            await asyncio.sleep(0.005)
    return bus.records()


async def test_a_sampled_line_has_a_span_whose_context_its_records_carry(
    journal: JournalWriter, bus: RecordedBus, running: Running, receiver: OtlpReceiver
) -> None:
    async with receiver.exporting(), running(bus):
        journal.append([message("1"), message("2")], {1: context(2)})
        journal.append([batch(data_of("3", 1), data_of("4", 1)), message("5")], {0: context(3)})
        records = await arrived(bus, 5)
    spans = {span.trace: span for span in receiver.spans}
    assert len(receiver.spans) == 2
    for number in (2, 3):
        span = spans[f"{number:032x}"]
        assert (span.name, span.kind, span.parent) == (
            "relay webhook.messages", "producer", f"{number:016x}",
        )  # fmt: skip
        assert span.attributes["millrace.origin"] == f"{journal.root.door}/{DAY}/{number}/0"
    own = {number: f"00-{number:032x}-{spans[f'{number:032x}'].id}-01" for number in (2, 3)}
    assert [header(record) for record in records] == [None, own[2], own[3], own[3], None]


async def test_a_relay_that_is_off_does_not_look_for_contexts(
    journal: JournalWriter, bus: RecordedBus, running: Running
) -> None:
    async with running(bus):
        journal.append([message("1")], {0: context(1)})
        assert [header(record) for record in await arrived(bus, 1)] == [None]


async def test_a_line_that_is_sent_again_stays_in_its_trace(
    journal: JournalWriter, bus: RecordedBus, running: Running, receiver: OtlpReceiver, data: Path
) -> None:
    journal.append([message("1")], {0: context(1)})
    for sent in (1, 2):
        async with receiver.exporting(), running(bus):
            await arrived(bus, sent)
        for positions in (data / "metadata" / "relay").glob("*.json"):
            positions.unlink()  # as after a crash before they were saved
    first, second = receiver.spans
    assert {(span.trace, span.parent) for span in (first, second)} == {(f"{1:032x}", f"{1:016x}")}
    assert first.id != second.id
    assert [header(record) for record in bus.records()] == [
        f"00-{1:032x}-{span.id}-01" for span in (first, second)
    ]


async def test_a_span_lasts_until_the_bus_has_the_line(
    journal: JournalWriter, bus: RecordedBus, running: Running, receiver: OtlpReceiver
) -> None:
    bus.away = "no broker"
    async with receiver.exporting(), running(bus) as relay:
        journal.append([message("1")], {0: context(1)})
        async with asyncio.timeout(WITHIN_S):
            while not relay._persistence.trouble():  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert receiver.spans == []
        bus.away = ""
        await arrived(bus, 1)
    [span] = receiver.spans
    assert span.end_ns - span.start_ns >= 500_000_000  # the pause before the second attempt


async def test_a_batch_has_so_many_spans_and_further_lines_keep_their_contexts(
    journal: JournalWriter, bus: RecordedBus, running: Running, receiver: OtlpReceiver
) -> None:
    count = MOST_SPANS + 50
    journal.append(
        [message(str(number)) for number in range(1, count + 1)],
        {number - 1: context(number) for number in range(1, count + 1)},
    )
    async with receiver.exporting(), running(bus):
        records = await arrived(bus, count)
    assert len(receiver.spans) == MOST_SPANS
    assert [header(record) for record in records[MOST_SPANS:]] == [
        context(number) for number in range(MOST_SPANS + 1, count + 1)
    ]
