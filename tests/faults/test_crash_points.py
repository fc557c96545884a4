"""Each process kills itself at each named moment, is started again, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from millrace_testkit.builders import message, not_json, traffic
from millrace_testkit.crash import ROOT, crash_points, wait_killed
from millrace_testkit.load import OK, post_all
from millrace_testkit.recorded import RecordedBus
from millrace_testkit.stack import Stack, wait_until

from .conftest import SMALL_BATCHES, Accepted, Exact

pytestmark = pytest.mark.faults

DOOR = ("BEFORE_JOURNAL_SYNC", "AFTER_JOURNAL_SYNC_BEFORE_ANSWER")
LAKE_WRITER = (
    "BEFORE_REJECT_JOURNAL",
    "AFTER_REJECT_BEFORE_CONTACTS",
    "AFTER_CONTACTS_COMMIT_BEFORE_MESSAGES",
    "AFTER_OTHER_COMMIT_BEFORE_MESSAGES",
    "AFTER_DEAD_LETTERS_COMMIT_BEFORE_MESSAGES",
    "AFTER_COMMIT_BEFORE_INDEX",
    "AFTER_SYNC_BEFORE_CHECKPOINT",
    "DURING_INDEX_SNAPSHOT",
)
RELAY = (
    "AFTER_BODY_BEFORE_REFERENCE",
    "AFTER_READ_BEFORE_PUBLISH",
    "AFTER_PUBLISH_BEFORE_POSITION",
    "AFTER_POSITION_SAVED",
)
RELAY_CLOSING = ("AFTER_CLOSE_BEFORE_POSITION",)
"""When a past day is relayed to its end: `test_relay.py`."""
MAINTENANCE = ("BEFORE_COMPACTION", "DURING_COMPACTION", "AFTER_COMPACTION_SYNC", "DURING_VACUUM")
ARCHIVING = (
    "BEFORE_ARCHIVING",
    "AFTER_ARCHIVE_COMMIT_BEFORE_COMPARE",
    "AFTER_COMPARE_BEFORE_DELETE",
    "AFTER_DELETE_BEFORE_SYNC",
)
CLEANING = ("BEFORE_JOURNAL_REMOVAL", "AFTER_JOURNAL_REMOVAL_BEFORE_SIDECARS")
"""Of archiving and cleaning up: `test_keeping.py`."""
INGEST = ("AFTER_INGEST_COMMIT", "AFTER_QUARANTINE_BEFORE_REPAIR")
"""Of storage commands alone: `test_two_drivers.py`."""
REPLAYING = ("AFTER_REPLAY_COMMIT",)
"""Of dead letters: `ingest-service/tests/letters/test_replay.py`."""

LATER = ("AFTER_CONTACTS_COMMIT_BEFORE_MESSAGES#3", "AFTER_COMMIT_BEFORE_INDEX#3", "DURING_INDEX_SNAPSHOT#2")
"""In the middle of the work, and a snapshot that replaces an earlier one."""

# Positions are saved at most five times a second: a relay may be level before it has saved a third one.
RELAY_OFTEN = tuple(moment for moment in RELAY if moment != "AFTER_POSITION_SAVED")
RELAY_DRIVER = Path(__file__).with_name("relay_driver.py")
EAGER_SNAPSHOTS = {"INDEX_SNAPSHOT_KEYS": "50"}
EAGER_KEEPER = {
    "COMPACT_ABOVE_FILES": "2",
    "VACUUM_GRACE_HOURS": "0",
    "VACUUM_EVERY_S": "0.1",
    "MAINTENANCE_INTERVAL_S": "0.05",
    "MAINTENANCE_LEASE_S": "1",
}


def test_every_crash_point_of_the_source_is_exercised() -> None:
    found = crash_points()
    assert found["ingest-service"] == {
        *DOOR,
        *LAKE_WRITER,
        *RELAY,
        *RELAY_CLOSING,
        *MAINTENANCE,
        *ARCHIVING,
        *CLEANING,
        *INGEST,
        *REPLAYING,
    }
    for part in found.keys() - {"ingest-service"}:
        tests = "".join(file.read_text() for file in (ROOT / "services" / part / "tests").rglob("*.py"))
        assert {name for name in found[part] if name not in tests} == set(), part


@pytest.mark.parametrize("hit", [1, 7])
@pytest.mark.parametrize("moment", DOOR)
async def test_a_door_killed_around_its_sync_keeps_what_it_has_acknowledged(
    stack: Stack, assert_exact: Exact, moment: str, hit: int
) -> None:
    bodies = list(itertools.islice(traffic(2), 150))
    killed = stack.door(CRASH_AT=f"{moment}#{hit}").wait_ready()
    statuses = await post_all(killed.endpoint.http_port, bodies, connections=4)
    wait_killed(killed)
    acknowledged = [body for body, status in zip(bodies, statuses, strict=True) if status == OK]
    assert len(acknowledged) < len(bodies)

    # The sender repeats what was not answered, some of which had been stored all the same.
    unanswered = [body for body, status in zip(bodies, statuses, strict=True) if status != OK]
    door, writer = stack.door().wait_ready(), stack.lake_writer(**SMALL_BATCHES)
    assert await post_all(door.endpoint.http_port, unanswered) == [OK] * len(unanswered)
    stack.wait_landed()
    writer.stop()
    assert_exact(stack.data, [*acknowledged, *unanswered])


@pytest.mark.parametrize("moment", [*LAKE_WRITER, *LATER])
def test_a_lake_writer_killed_at_a_moment_of_a_batch_lands_each_line_once(
    filled: Stack, accepted: Accepted, assert_exact: Exact, moment: str
) -> None:
    settings = SMALL_BATCHES | (EAGER_SNAPSHOTS if "SNAPSHOT" in moment else {})
    wait_killed(filled.lake_writer(CRASH_AT=moment, **settings))
    again = filled.lake_writer(**settings)
    filled.wait_landed()
    again.stop()
    assert_exact(filled.data, accepted.bodies)
    assert not list((filled.data / "metadata").rglob("*.tmp"))


def test_a_lake_writer_killed_at_one_moment_after_the_other_lands_each_line_once(
    filled: Stack, accepted: Accepted, assert_exact: Exact
) -> None:
    for moment in LAKE_WRITER:
        wait_killed(filled.lake_writer(CRASH_AT=moment, **SMALL_BATCHES, **EAGER_SNAPSHOTS))
    filled.lake_writer(**SMALL_BATCHES, **EAGER_SNAPSHOTS)
    filled.wait_landed()
    assert_exact(filled.data, accepted.bodies)


@pytest.mark.parametrize("moment", [*RELAY, *(f"{moment}#3" for moment in RELAY_OFTEN)])
def test_a_relay_killed_at_a_moment_of_a_batch_sends_every_record_in_order(
    filled: Stack, moment: str
) -> None:
    settings = {
        "BUS": "kafka://unused:1",
        "OBJECTS": f"file://{filled.data / 'objects'}",
        "RELAY_MAX_RECORDS": "60",
        "RELAY_MAX_RECORD_BYTES": "1024",
    }
    with max((filled.data / "messages" / "raw").glob("*.jsonl")).open("ab") as journal:
        journal.writelines(message(f"large-{number}", content="x" * 2000) + b"\n" for number in range(5))
    wait_killed(filled.script(RELAY_DRIVER, CRASH_AT=moment, **settings))
    saved = _relayed(filled.data)
    again = filled.script(RELAY_DRIVER, **settings)
    wait_until(lambda: "relay_started" in again.log(), 60, "relay started")
    wait_until(lambda: _relayed(filled.data) == _lines(filled.data), 60, "every line relayed")
    again.stop()

    places = [
        (record.origin.day, record.origin.line, record.origin.element)
        for record in RecordedBus(filled.data / "recorded").records()
        if record.origin
    ]
    # No place is left out before a later one comes for the first time; and what was sent before the crash
    # comes again from the saved position on only.
    firsts = list(dict.fromkeys(places))
    assert firsts == sorted(set(places))
    repeated = {place for place, times in Counter(places).items() if times > 1}
    assert all(line > saved.get(day, 0) for day, line, _ in repeated)


@pytest.mark.parametrize("moment", [*MAINTENANCE, "DURING_VACUUM#5"])
def test_a_keeper_killed_at_its_work_harms_no_row(
    stack: Stack, landed: Path, accepted: Accepted, assert_exact: Exact, moment: str
) -> None:
    shutil.copytree(landed, stack.data, dirs_exist_ok=True)
    wait_killed(stack.maintenance(CRASH_AT=moment, **EAGER_KEEPER))
    assert_exact(stack.data, accepted.bodies)

    stack.maintenance(**EAGER_KEEPER)
    tables = [stack.data / "parquet" / name for name in ("messages", "contacts", "other", "dead_letters")]
    wait_until(lambda: all(_compact(table) for table in tables), 60, "one file per partition, no other file")
    assert_exact(stack.data, accepted.bodies)


def test_repeats_and_rejects_of_a_killed_door_are_told_apart(stack: Stack, assert_exact: Exact) -> None:
    bodies = [not_json(number) for number in range(8)]
    killed = stack.door(CRASH_AT="AFTER_JOURNAL_SYNC_BEFORE_ANSWER").wait_ready()
    assert asyncio.run(post_all(killed.endpoint.http_port, bodies[:1])) == [0]
    wait_killed(killed)
    door = stack.door().wait_ready()
    assert asyncio.run(post_all(door.endpoint.http_port, bodies, connections=1)) == [OK] * 8
    assert_exact(stack.data, bodies)
    lines = b"".join(file.read_bytes() for file in (stack.data / "messages" / "rejected").glob("*.jsonl"))
    assert lines.count(b"\n") == 9


def _lines(data: Path) -> dict[str, int]:
    """Lines of each day's journal."""
    return {file.stem: file.read_bytes().count(b"\n") for file in (data / "messages" / "raw").glob("*.jsonl")}


def _relayed(data: Path) -> dict[str, int]:
    """The position that the relay has saved for each day."""
    files = list((data / "metadata" / "relay").glob("*.json"))
    journals = json.loads(files[0].read_bytes())["journals"] if files else {}
    return {day: place["line"] for day, place in journals.items()}


def _compact(table: Path) -> bool:
    """Whether each partition is one file, and nothing else lies there."""
    return all(
        len(list(day.glob("*.parquet"))) <= 1 for day in table.glob("year=*/month=*/day=*") if day.is_dir()
    )
