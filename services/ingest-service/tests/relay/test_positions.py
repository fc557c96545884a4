"""The relay's positions: kept per journal and epoch, never ahead of what was said."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from ingest_service.relay.positions import Place, RelayPositions
from millrace_ports.bus import Partition
from millrace_ports.errors import StorageUnavailableError

DOOR = "door-1"
DAY = Partition("webhook.messages", f"{DOOR}/2026-03-05")
NEXT_DAY = Partition("webhook.messages", f"{DOOR}/2026-03-06")


def positions(directory: Path) -> RelayPositions:
    return RelayPositions(directory, now_ms=lambda: 7)


async def test_a_new_door_begins_at_the_beginning(tmp_path: Path) -> None:
    kept = positions(tmp_path)
    assert await kept.start(DAY) == 0
    assert kept.place(DAY) == Place(0)
    await kept.save()
    assert os.listdir(tmp_path) == []  # noqa: PTH208 nothing to remember yet


async def test_what_was_saved_is_there_after_a_restart(tmp_path: Path) -> None:
    kept = positions(tmp_path)
    for partition in (DAY, NEXT_DAY):
        await kept.start(partition)
    kept.take({DAY: Place(5), NEXT_DAY: Place(2)})
    await kept.save()
    kept.take({NEXT_DAY: Place(9)})  # and not saved
    again = positions(tmp_path)
    assert [await again.start(partition) for partition in (DAY, NEXT_DAY)] == [5, 2]
    assert again.lines("webhook.messages") == {DAY: 5, NEXT_DAY: 2}
    saved = json.loads((tmp_path / f"{DOOR}.json").read_bytes())
    assert saved["door"] == DOOR
    assert saved["saved_at_ms"] == 7


async def test_a_replaced_journal_is_remembered_at_once(tmp_path: Path) -> None:
    kept = positions(tmp_path)
    await kept.start(DAY)
    kept.take({DAY: Place(5)})
    assert await kept.truncated(DAY, 5, 3) == 0
    again = positions(tmp_path)
    assert await again.start(DAY) == 0
    assert again.place(DAY) == Place(0, 1)


async def test_two_doors_are_kept_apart(tmp_path: Path) -> None:
    kept = positions(tmp_path)
    former = Partition("webhook.messages", "door-0/2026-03-05")
    for partition in (DAY, former):
        await kept.start(partition)
    kept.take({DAY: Place(5), former: Place(7)})
    await kept.save()
    again = positions(tmp_path)
    assert [await again.start(partition) for partition in (former, DAY)] == [7, 5]
    assert again.lines("webhook.messages") == {DAY: 5, former: 7}


async def test_a_journal_that_went_on_meanwhile_is_not_closed(tmp_path: Path) -> None:
    kept = positions(tmp_path)
    for partition in (DAY, NEXT_DAY):
        await kept.start(partition)
        kept.begin(partition, "topic")
    kept.take({DAY: Place(5), NEXT_DAY: Place(2)})
    at = {DAY: kept.place(DAY), NEXT_DAY: kept.place(NEXT_DAY)}
    kept.take({DAY: Place(6)})
    kept.close(at, {Partition("webhook.messages", "topic/0"): 9})
    assert kept.place(DAY).ends is None
    await kept.save()
    again = positions(tmp_path)
    await again.start(NEXT_DAY)
    assert again.place(NEXT_DAY) == Place(2, 0, "topic", {"topic/0": 9})


async def test_what_was_on_its_way_when_the_journal_was_replaced_counts_no_more(tmp_path: Path) -> None:
    kept = positions(tmp_path)
    await kept.start(DAY)
    on_its_way = {DAY: Place(5, 0)}
    await kept.truncated(DAY, 4, 1)
    kept.take(on_its_way)
    assert kept.place(DAY) == Place(0, 1)
    kept.take({DAY: Place(1, 1)})
    assert kept.place(DAY) == Place(1, 1)


async def test_what_cannot_be_saved_is_saved_later(tmp_path: Path) -> None:
    directory = tmp_path / "relay"
    directory.write_text("in the way")
    kept = positions(directory)
    with pytest.raises(StorageUnavailableError, match="relay"):
        await kept.start(DAY)
    directory.unlink()
    await kept.start(DAY)
    kept.take({DAY: Place(5)})
    directory.write_text("in the way again")
    for _ in range(2):
        with pytest.raises(StorageUnavailableError, match="save relay positions"):
            await kept.save()
    with pytest.raises(StorageUnavailableError):
        await kept.truncated(DAY, 5, 3)
    assert kept.place(DAY) == Place(5)
    directory.unlink()
    await kept.save()
    assert await positions(directory).start(DAY) == 5


async def test_saves_that_overlap_lose_nothing(tmp_path: Path) -> None:
    kept = positions(tmp_path)
    await kept.start(DAY)
    for line in range(1, 30):
        kept.take({DAY: Place(line)})
        saving = asyncio.create_task(kept.save())
        await asyncio.sleep(0)
        kept.take({DAY: Place(line + 1)})
        await saving
        await kept.save()
    assert await positions(tmp_path).start(DAY) == 30
