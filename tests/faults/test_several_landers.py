"""Several drivers land the same journals at once; one is stopped in the middle of a commit and goes on later."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace_testkit.builders import traffic
from millrace_testkit.crash import wait_paused
from millrace_testkit.load import OK, post_all
from millrace_testkit.stack import Stack

from .conftest import SMALL_BATCHES, Accepted, Exact

pytestmark = [pytest.mark.faults, pytest.mark.slow]

TINY = {"LAND_MAX_ROWS": "20", "LAND_INTERVAL_S": "0"}
DRIVER = Path(__file__).with_name("storage_driver.py")
ORPHAN = "part-00000-00000000-0000-4000-8000-000000000000-c000.snappy.parquet"


async def test_landers_that_overtake_each_other_beside_a_keeper_leave_every_row_once(
    stack: Stack, assert_exact: Exact
) -> None:
    door = stack.door().wait_ready()
    landers = [stack.lake_writer(**TINY), stack.lake_writer(**TINY), stack.script(DRIVER, **TINY)]
    stack.maintenance(COMPACT_ABOVE_FILES="4", MAINTENANCE_INTERVAL_S="0.05")
    lock = stack.data / "metadata" / ".ingest.lock"
    port = door.endpoint.http_port
    first = await post_some(port, traffic(5))
    await asyncio.to_thread(stack.wait_landed)
    traffic_on = traffic(3)
    sent = list(first)
    for place, lander in enumerate(landers):
        caught = asyncio.create_task(asyncio.to_thread(lander.pause_holding, lock))
        while not caught.done():  # the one to be caught has to find work
            sent += await post_some(port, traffic_on)
            await asyncio.wait({caught}, timeout=0.3)  # no faster than tiny batches can follow
        await caught
        sent += await post_some(port, traffic_on)
        await asyncio.to_thread(stack.wait_landed)  # by the others, though the lock is held
        if place == 0:
            leave_strangers(stack.data / "parquet" / "messages")
        lander.resume()  # in the middle of a batch that somebody else has landed since

    # What the overtaken do now must change nothing: one more round, in which everybody takes part.
    for _ in range(5):
        sent += await post_some(port, traffic_on)
    await asyncio.to_thread(stack.wait_landed)
    for lander in landers:
        await asyncio.to_thread(lander.stop)
    assert_exact(stack.data, sent)
    assert list((stack.data / "parquet" / "messages").glob(f"year=*/**/{ORPHAN}"))


async def post_some(port: int, bodies: Iterator[bytes]) -> list[bytes]:
    """Post the next 40 bodies, all of which are accepted, and return them."""
    some = list(itertools.islice(bodies, 40))
    assert set(await post_all(port, some, connections=4)) == {OK}
    return some


@pytest.mark.parametrize(
    "moment",
    [
        "BEFORE_REJECT_JOURNAL",
        "AFTER_CONTACTS_COMMIT_BEFORE_MESSAGES",
        "AFTER_OTHER_COMMIT_BEFORE_MESSAGES",
        "AFTER_COMMIT_BEFORE_INDEX",
    ],
)
async def test_a_lander_that_is_suspended_within_a_batch_and_overtaken_changes_nothing(
    filled: Stack, accepted: Accepted, assert_exact: Exact, moment: str
) -> None:
    door = filled.door()
    asleep = filled.lake_writer(PAUSE_AT=f"{moment}#2", **SMALL_BATCHES)
    wait_paused(asleep)
    awake = filled.lake_writer(**SMALL_BATCHES)
    filled.wait_landed()
    asleep.resume()

    # It has found its way back when it can go on alone.
    awake.stop()
    door.wait_ready()
    more = await post_some(door.endpoint.http_port, traffic(8))
    filled.wait_landed()
    asleep.stop()
    assert_exact(filled.data, [*accepted.bodies, *more])


def leave_strangers(table: Path) -> None:
    """A whole data file and an empty one that no commit knows, as a killed writer leaves them."""
    day = next(table.glob("year=*/month=*/day=*"))
    some = next(day.glob("*.parquet"))
    shutil.copy(some, day / ORPHAN)
    (day / ORPHAN.replace("part-00000", "part-00001")).touch()
