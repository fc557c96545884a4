"""The relay on real journals: in order, after the acknowledgement, across outages and replaced journals."""

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from ingest_service.relay import persist
from ingest_service.relay.positions import Place
from ingest_service.relay.relay import Relay
from millrace.events.v1 import envelope_pb2
from millrace_ports.bus import Record, embedded_consumer
from millrace_ports.errors import StorageUnavailableError
from millrace_runtime.settings import SettingsError
from millrace_testkit.builders import batch, data_of, message, other
from millrace_testkit.clock import ManualClock
from millrace_testkit.recorded import RecordedBus

from .conftest import DAY, Door, Running

WITHIN_S = 10.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110 files are looked at
            await asyncio.sleep(0.005)


async def in_time(clock: ManualClock, condition: Callable[[], bool]) -> None:
    """Until `condition`, while seconds pass: books are kept by the clock."""

    def later() -> bool:
        clock.advance(1.0)
        return condition()

    await until(later)


async def trouble(relay: Relay) -> str:
    """What readiness says when it first says anything."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                await relay.check()
            except RuntimeError as error:
                return str(error)
            await asyncio.sleep(0.005)


def ends(data: Path, day: str = DAY) -> dict[str, int] | None:
    """Where the bus ended when that day was relayed to its end; None while it is not saved."""
    found: dict[str, int] | None = journals(data).get(day, {}).get("ends")
    return found


async def arrived(bus: RecordedBus, count: int) -> list[Record]:
    await until(lambda: len(bus.records()) >= count)
    return bus.records()


def journals(data: Path) -> dict[str, Any]:
    """The positions file of the only door."""
    files = list((data / "metadata" / "relay").glob("*.json"))
    return json.loads(files[0].read_bytes())["journals"] if files else {}


def saved(data: Path) -> dict[str, Any]:
    """How far each journal is relayed."""
    return {
        day: {name: place[name] for name in ("line", "epoch") if name in place}
        for day, place in journals(data).items()
    }


def lines(records: list[Record]) -> list[tuple[str, int, int]]:
    return [(r.origin.day, r.origin.line, r.origin.element) for r in records if r.origin]


async def test_lines_go_out_in_order_with_their_origins(
    door: Door, bus: RecordedBus, running: Running, clock: ManualClock, data: Path
) -> None:
    bodies = [message("1"), b"not json", message("2"), batch(data_of("3", 1), data_of("4", 1))]
    door.take(*bodies[:2])
    async with running(bus):
        await arrived(bus, 2)
        clock.advance(0.25)
        door.take(b"", *bodies[2:])
        records = await arrived(bus, 5)
    assert [record.value for record in records[:3]] == bodies[:3]
    assert lines(records) == [(DAY, 1, 0), (DAY, 2, 0), (DAY, 4, 0), (DAY, 5, 0), (DAY, 5, 1)]
    origins = [record.origin for record in records if record.origin]
    assert {origin.door for origin in origins} == {door.root.door}
    assert [origin.received_at_ms - clock.now_ms() for origin in origins] == [-250, -250, 0, 0, 0]
    assert saved(data) == {DAY: {"line": 5}}


async def test_it_goes_on_where_it_stopped(door: Door, bus: RecordedBus, running: Running) -> None:
    for number in range(3):
        door.take(message(str(number)))
        async with running(bus):
            await arrived(bus, number + 1)
    assert [record.key for record in bus.records()] == [b"0", b"1", b"2"]


async def test_days_go_out_oldest_first(
    door: Door, bus: RecordedBus, running: Running, clock: ManualClock, data: Path
) -> None:
    door.take(message("1"), message("2"))
    clock.advance(86_400)
    door.take(message("3"))
    async with running(bus):
        records = await arrived(bus, 3)
    assert lines(records) == [(DAY, 1, 0), (DAY, 2, 0), ("2026-03-06", 1, 0)]
    assert saved(data) == {DAY: {"line": 2}, "2026-03-06": {"line": 1}}


async def test_the_end_of_a_past_day_is_relayed_without_its_line_feed(
    door: Door, bus: RecordedBus, running: Running, clock: ManualClock
) -> None:
    door.take(message("1"))
    with door.file().open("ab") as file:
        file.write(message("2"))
    async with running(bus):
        await arrived(bus, 1)
        clock.advance(86_400)
        records = await arrived(bus, 2)
    assert [record.key for record in records] == [b"1", b"2"]


async def test_the_end_of_the_bus_is_saved_when_a_day_is_closed_and_relayed(
    door: Door, bus: RecordedBus, running: Running, clock: ManualClock, data: Path
) -> None:
    door.take(message("1"), message("2"))
    async with running(bus):
        await arrived(bus, 2)
        await in_time(clock, lambda: saved(data) == {DAY: {"line": 2}})
        assert ends(data) is None
        clock.advance(86_400)
        await in_time(clock, lambda: ends(data) is not None)
        door.take(message("3"))
        await arrived(bus, 3)
    assert ends(data) == {"recorded/0": 2}
    assert ends(data, "2026-03-06") is None


async def test_a_day_that_goes_on_after_its_end_was_saved_is_closed_anew(
    door: Door, bus: RecordedBus, running: Running, clock: ManualClock, data: Path
) -> None:
    door.take(message("1"))
    async with running(bus):
        await arrived(bus, 1)
        clock.advance(86_400)
        await in_time(clock, lambda: ends(data) is not None)
    with door.file().open("ab") as file:
        file.write(message("2") + b"\n")
    async with running(bus):
        await arrived(bus, 2)
        await in_time(clock, lambda: ends(data) == {"recorded/0": 2})


async def test_a_day_whose_records_are_in_two_topics_has_no_end(
    door: Door, bus: RecordedBus, running: Running, clock: ManualClock, data: Path
) -> None:
    door.take(message("1"))
    async with running(bus):
        await arrived(bus, 1)
        bus.id = "made-anew"
        door.take(message("2"))
        await arrived(bus, 2)
        clock.advance(86_400)
        await in_time(clock, lambda: ends(data) == {})
        door.take(message("3"))
        await arrived(bus, 3)
        clock.advance(86_400)
        await in_time(clock, lambda: ends(data, "2026-03-06") == {"made-anew/0": 3})


async def test_the_end_is_asked_for_again_when_the_bus_was_away(
    door: Door, bus: RecordedBus, running: Running, clock: ManualClock, data: Path
) -> None:
    registry = CollectorRegistry()
    door.take(message("1"))
    async with running(bus, registry) as relay:
        await arrived(bus, 1)
        await in_time(clock, lambda: saved(data) == {DAY: {"line": 1}})
        bus.away = "no broker"
        clock.advance(86_400)
        failed = "millrace_relay_failures_total"
        await in_time(clock, lambda: registry.get_sample_value(failed, {"step": "close"}) is not None)
        await relay.check()  # relaying itself is in no trouble
        bus.away = ""
        await in_time(clock, lambda: ends(data) == {"recorded/0": 1})


async def test_small_batches_keep_the_order(door: Door, bus: RecordedBus, running: Running) -> None:
    bodies = [message(str(number)) for number in range(500)]
    door.take(*bodies)
    async with running(bus, relay_max_records=7, relay_max_bytes=2_000):
        records = await arrived(bus, 500)
    assert [record.value for record in records] == bodies


async def test_nothing_is_published_before_it_is_durable(
    door: Door, bus: RecordedBus, running: Running, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut could give the number of a line that was read to another payload."""
    failures = 3
    sync = embedded_consumer._sync_files

    def broken_at_first(paths: Sequence[Path]) -> None:
        nonlocal failures
        assert bus.records() == []
        failures -= 1
        if failures >= 0:
            raise StorageUnavailableError("sync journal: Input/output error")
        sync(paths)

    monkeypatch.setattr(embedded_consumer, "_sync_files", broken_at_first)
    door.take(message("1"), message("2"))
    async with running(bus):
        await arrived(bus, 2)
    assert [record.key for record in bus.records()] == [b"1", b"2"]
    assert saved(data) == {DAY: {"line": 2}}


async def test_an_outage_delays_and_is_told(
    door: Door,
    bus: RecordedBus,
    running: Running,
    data: Path,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(persist, "LONGEST_PAUSE_S", 0.05)
    registry = CollectorRegistry()
    bus.away = "no broker"
    door.take(message("1"), message("2"))
    async with running(bus, registry) as relay:
        assert await trouble(relay) == "publish fails: no broker"
        assert registry.get_sample_value("millrace_relay_failures_total", {"step": "publish"})
        clock.advance(1.5)  # its books are due
        lag = {"partition": f"{door.root.door}/{DAY}"}
        await until(lambda: registry.get_sample_value("millrace_relay_lag_lines", lag) == 2)
        assert saved(data) == {}
        bus.away = ""
        relayed = "millrace_relayed_records_total"
        await until(lambda: registry.get_sample_value(relayed) == 2)
        await relay.check()
    assert [record.key for record in bus.records()] == [b"1", b"2"]


async def test_a_stop_during_an_outage_is_quick_and_loses_nothing(
    door: Door, bus: RecordedBus, running: Running, data: Path
) -> None:
    bus.away = "no broker"
    door.take(message("1"))
    async with asyncio.timeout(WITHIN_S), running(bus) as relay:
        await trouble(relay)
    bus.away = ""
    async with running(bus):
        await arrived(bus, 1)
    assert [record.key for record in bus.records()] == [b"1"]


async def test_a_journal_that_is_replaced_is_a_new_epoch(
    door: Door, bus: RecordedBus, running: Running, data: Path
) -> None:
    door.take(*(other(number) for number in range(3)))
    async with running(bus):
        await arrived(bus, 3)
    os.truncate(door.file(), 0)
    door.take(other(7))
    async with running(bus):
        await arrived(bus, 4)
        door.take(other(8))
        records = await arrived(bus, 5)
    assert lines(records)[3:] == [(f"{DAY}#1", 1, 0), (f"{DAY}#1", 2, 0)]
    assert saved(data) == {DAY: {"line": 2, "epoch": 1}}


async def test_a_journal_that_loses_lines_while_it_is_read_is_a_new_epoch(
    door: Door, bus: RecordedBus, running: Running, data: Path
) -> None:
    door.take(*(other(number) for number in range(3)))
    async with running(bus):
        await arrived(bus, 3)
        os.truncate(door.file(), 0)
        await until(lambda: saved(data) == {DAY: {"line": 0, "epoch": 1}})
        door.take(other(7))
        records = await arrived(bus, 4)
    assert lines(records)[3:] == [(f"{DAY}#1", 1, 0)]


async def test_a_large_body_goes_by_reference(
    door: Door, bus: RecordedBus, running: Running, tmp_path: Path
) -> None:
    large = message("2", content="x" * 5000)
    split = batch(data_of("3", 1), data_of("4", 1, content="y" * 5000))
    door.take(message("1"), large, split)
    registry = CollectorRegistry()
    async with running(bus, registry, relay_max_record_bytes=2000):
        records = await arrived(bus, 4)
    assert [record.key for record in records] == [b"1", b"2", b"3", b"4"]
    for record in (records[1], records[3]):
        assert record.headers == {"content-type": "application/vnd.millrace.envelope"}
        envelope = envelope_pb2.Envelope.FromString(record.value)
        assert envelope.content_type == "application/vnd.millrace.reference"
        origin = record.origin
        assert origin is not None
        assert envelope.origin.journal.line == origin.line
        body = (tmp_path / "objects" / envelope.body.decode()).read_bytes()
        assert (
            body == large if origin.line == 2 else json.loads(body)["data"] == json.loads(split)["data"][1:]
        )
        assert envelope.headers["size"] == str(len(body))
    assert registry.get_sample_value("millrace_relay_large_bodies_total") == 2


async def test_a_body_that_a_power_cut_has_cut_is_written_again(
    door: Door, bus: RecordedBus, running: Running, tmp_path: Path
) -> None:
    large = message("2", content="x" * 5000)
    door.take(large)
    place = tmp_path / "objects" / "bodies" / door.root.door / DAY / "1-0"
    place.parent.mkdir(parents=True)
    place.write_bytes(large[:100])
    async with running(bus, relay_max_record_bytes=2000):
        await arrived(bus, 1)
    assert place.read_bytes() == large


async def test_a_record_that_the_bus_refuses_for_good_becomes_a_dead_letter(
    door: Door, bus: RecordedBus, running: Running, tmp_path: Path, data: Path
) -> None:
    bus.refuses = lambda record: "not on this bus" if record.key == b"2" and b"xxx" in record.value else None
    bodies = [message("1"), message("2", content="xxx"), message("2", content="yyy")]
    door.take(*bodies)
    registry = CollectorRegistry()
    async with running(bus, registry):
        records = await arrived(bus, 3)
    assert [record.key for record in records] == [b"1", b"2", b"2"]
    assert [records[0].value, records[2].value] == [bodies[0], bodies[2]]
    envelope = envelope_pb2.Envelope.FromString(records[1].value)
    assert envelope.content_type == "application/vnd.millrace.refused"
    assert "not on this bus" in envelope.headers["error-message"]
    assert (tmp_path / "objects" / envelope.body.decode()).read_bytes() == bodies[1]
    assert saved(data) == {DAY: {"line": 3}}
    assert registry.get_sample_value("millrace_relay_refused_total") == 1


async def test_a_bus_that_refuses_everything_loses_nothing(
    door: Door, bus: RecordedBus, running: Running, data: Path
) -> None:
    bus.refuses = lambda record: "no"
    door.take(message("1"))
    async with running(bus) as relay:
        assert "publish fails" in await trouble(relay)
        bus.refuses = lambda record: None
        await arrived(bus, 1)
    assert lines(bus.records()) == [(DAY, 1, 0)]


async def test_positions_that_cannot_be_read_start_over(
    door: Door, bus: RecordedBus, running: Running, data: Path
) -> None:
    door.take(message("1"))
    async with running(bus):
        await arrived(bus, 1)
    (data / "metadata" / "relay" / f"{door.root.door}.json").write_text("{")
    async with running(bus):
        await arrived(bus, 2)
    assert lines(bus.records()) == [(DAY, 1, 0)] * 2


async def test_a_second_relay_of_the_same_journals_is_refused(
    door: Door, bus: RecordedBus, running: Running, tmp_path: Path
) -> None:
    async with running(bus):
        with pytest.raises(SettingsError, match="MILLRACE_DATA: another relay"):
            async with running(RecordedBus(tmp_path / "second")):
                pass


async def test_journals_of_a_former_door_are_relayed_under_its_name(
    door: Door, bus: RecordedBus, running: Running, data: Path, clock: ManualClock
) -> None:
    door.take(message("1"), message("2"))
    async with running(bus):
        await arrived(bus, 2)
    door.take(message("3"))
    former = door.root.door
    (data / "messages" / "former").mkdir()
    door.root.path.rename(data / "messages" / "former" / former)
    late = Door(data, clock)
    late.take(message("4"))
    async with running(bus):
        records = await arrived(bus, 4)
    late.close()
    origins = [(record.origin.door, record.origin.line) for record in records if record.origin]
    assert origins[:2] == [(former, 1), (former, 2)]
    assert sorted(origins[2:]) == sorted([(former, 3), (late.root.door, 1)])


async def test_no_journal_yet_is_no_trouble(
    bus: RecordedBus, running: Running, data: Path, clock: ManualClock
) -> None:
    async with running(bus) as relay:
        await asyncio.sleep(0.05)
        await relay.check()
        late = Door(data, clock)
        late.take(message("1"))
        await arrived(bus, 1)
        late.close()


def test_a_place_without_epoch_is_written_short() -> None:
    assert Place(3) == Place(3, 0)
