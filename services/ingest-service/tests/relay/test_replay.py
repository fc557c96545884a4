"""Sending lines again: the range that was asked for, as far as the relay had come, with the origins they had."""

import argparse
import asyncio
import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from ingest_service.compose_relay import compose_replay
from ingest_service.processes.replay import add_arguments
from ingest_service.relay.replay import LAST, Point, Replay
from ingest_service.relay.settings import RelayTarget
from millrace_ports.bus import Record
from millrace_runtime.settings import SettingsError
from millrace_testkit.builders import batch, data_of, message, other
from millrace_testkit.clock import ManualClock
from millrace_testkit.recorded import RecordedBus

from .conftest import DAY, Door, Running
from .test_relay import arrived

NEXT_DAY = "2026-03-06"
EVERYTHING = (Point(DAY, 1), Point("9999-12-31", LAST))


@pytest.fixture
def again(tmp_path: Path) -> RecordedBus:
    """Where what is sent again goes, so that it can be told from what was relayed."""
    return RecordedBus(tmp_path / "again")


@pytest.fixture
def replaying(data: Path, tmp_path: Path, clock: ManualClock, again: RecordedBus) -> Any:
    def start(door: str | None = None, **settings: Any) -> AbstractAsyncContextManager[Replay]:
        wanted = {"data": data, "bus": "kafka://unused:1", "objects": f"file://{tmp_path / 'objects'}"}
        target = RelayTarget.load(**(wanted | settings))
        return compose_replay(target, stop=asyncio.Event(), door=door, clock=clock, bus=again)

    return start


@pytest.fixture
async def relayed(door: Door, bus: RecordedBus, running: Running, clock: ManualClock) -> list[Record]:
    """Two days, relayed whole; then two lines more that the relay has not come to."""
    door.take(message("1"), b"", batch(data_of("2", 1), data_of("3", 1)), message("4"))
    clock.advance(86_400)
    door.take(message("5"), b"no json", other(1))
    async with running(bus):
        records = await arrived(bus, 7)
    door.take(message("6"), message("7"))
    return records


async def send(replay: Replay, first: Point, last: Point) -> list[int]:
    seen: list[int] = []
    await replay.send(await replay.stretches(first, last), seen.append)
    return seen


async def test_everything_goes_out_again_as_it_was_relayed(
    relayed: list[Record], replaying: Any, again: RecordedBus
) -> None:
    async with replaying() as replay:
        seen = await send(replay, *EVERYTHING)
    assert again.records() == relayed
    assert seen == [4, 7]
    assert (replay.sent.lines, replay.sent.records) == (7, 7)
    assert str(replay.sent.up_to) == f"{NEXT_DAY}:3"


@pytest.mark.parametrize(
    ("first", "last", "keys"),
    [
        (Point(DAY, 3), Point(DAY, 3), [b"2", b"3"]),
        (Point(DAY, 4), Point(NEXT_DAY, 1), [b"4", b"5"]),
        (Point(DAY, 4), Point(DAY, LAST), [b"4"]),
        (Point("2026-01-01", 9), Point(DAY, 1), [b"1"]),
        (Point(DAY, 5), Point(DAY, LAST), []),
        (Point("2027-01-01", 1), EVERYTHING[1], []),
        (Point(NEXT_DAY, 1), Point(DAY, 1), []),
    ],
)
async def test_a_range_goes_out_again(
    relayed: list[Record],
    replaying: Any,
    again: RecordedBus,
    first: Point,
    last: Point,
    keys: list[bytes],
) -> None:
    async with replaying() as replay:
        await send(replay, first, last)
    assert [record.key for record in again.records()] == keys


async def test_lines_of_a_former_door_go_out_again_under_its_name(
    relayed: list[Record], replaying: Any, again: RecordedBus, door: Door, data: Path
) -> None:
    former = door.root.door
    (data / "messages" / "former").mkdir()
    door.root.path.rename(data / "messages" / "former" / former)
    async with replaying(door=former) as replay:
        await send(replay, *EVERYTHING)
    assert again.records() == relayed
    with pytest.raises(SettingsError, match="--door: there are no journals of door-x"):
        async with replaying(door="door-x"):
            pass


async def test_small_publishes_send_the_same(
    relayed: list[Record], replaying: Any, again: RecordedBus
) -> None:
    async with replaying(relay_max_records=2) as replay:
        await send(replay, *EVERYTHING)
    assert again.records() == relayed


async def test_lines_of_a_replaced_journal_keep_their_epoch(
    door: Door, bus: RecordedBus, running: Running, replaying: Any, again: RecordedBus
) -> None:
    door.take(other(1), other(2))
    async with running(bus):
        await arrived(bus, 2)
    os.truncate(door.file(), 0)
    door.take(other(3))
    async with running(bus):
        await arrived(bus, 3)
    async with replaying() as replay:
        await send(replay, *EVERYTHING)
    assert again.records() == bus.records()[2:]


async def test_large_bodies_go_by_reference_again(
    door: Door, bus: RecordedBus, running: Running, replaying: Any, again: RecordedBus
) -> None:
    door.take(message("1", content="x" * 5000))
    async with running(bus, relay_max_record_bytes=2000):
        await arrived(bus, 1)
    async with replaying(relay_max_record_bytes=2000) as replay:
        await send(replay, *EVERYTHING)
    assert again.records() == bus.records()


async def test_nothing_is_sent_that_was_never_relayed(door: Door, replaying: Any, again: RecordedBus) -> None:
    door.take(message("1"))
    async with replaying() as replay:
        assert await replay.stretches(*EVERYTHING) == []


async def test_without_journals_the_directory_is_named(replaying: Any) -> None:
    with pytest.raises(SettingsError, match="MILLRACE_DATA: there are no journals in"):
        async with replaying():
            pass


@pytest.mark.parametrize(
    "text", ["2026-3-5", "2026-03-05:", "2026-03-05:0", "2026-02-30", "x", "2026-03-05:-1"]
)
def test_a_malformed_range_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--from", text])
    assert "--from" in capsys.readouterr().err


def test_a_range_is_understood() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    parsed = parser.parse_args(["--from", "2026-03-05:7", "--to", "2026-03-06"])
    assert (parsed.first, parsed.last) == (Point(DAY, 7), Point(NEXT_DAY, LAST))
