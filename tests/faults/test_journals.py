"""Journals as crashes, people and other programs leave them, and hosts that live in other time zones."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from millrace_testkit.acknowledged import door_rejects
from millrace_testkit.builders import FIRST_SECOND, batch, contact, data_of, deletion, message, other
from millrace_testkit.load import OK, post_all
from millrace_testkit.model import read_rows
from millrace_testkit.stack import Stack, wait_until

from .conftest import Exact

pytestmark = pytest.mark.faults

ORDINARY = [message(f"{40_000 + number}", FIRST_SECOND + number) for number in range(6)]


def write_journal(stack: Stack, day: str, lines: list[bytes], *, end: bytes = b"\n") -> Path:
    """The journal of `day` with these lines, the last one ended by `end`."""
    raw = stack.data / "messages" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    journal = raw / f"{day}.jsonl"
    journal.write_bytes(b"\n".join(lines) + end)
    return journal


def today() -> str:
    """The UTC day now. A test that is cut by midnight is repeated by its reader."""
    return f"{datetime.now(UTC):%Y-%m-%d}"


def ids_of(stack: Stack) -> set[str]:
    """The msg_ids of the lake."""
    return {row["msg_id"] for row in read_rows(stack.data / "parquet" / "messages")}


def test_bad_lines_invalid_bytes_and_torn_ends_of_past_days_cost_only_themselves(
    stack: Stack, assert_exact: Exact
) -> None:
    bad = [b"", b"{broken", b"\xff\xfe{}", b"[1]", b'{"n": NaN}', b'{"a": 1, "a": 2}', b"   ", b"{" * 100_000]
    lines = [part for pair in zip(ORDINARY, bad, strict=False) for part in pair] + bad[6:]
    write_journal(stack, "2026-03-03", lines)
    write_journal(stack, "2026-03-04", [message("torn-but-whole")], end=b"")
    write_journal(stack, "2026-03-05", [message("before-the-cut"), message("cut")[:80]], end=b"")
    write_journal(stack, "2026-03-06", [], end=b"")

    stack.lake_writer()
    stack.wait_landed()

    assert {"torn-but-whole", "before-the-cut"} < ids_of(stack)
    dead = read_rows(stack.data / "parquet" / "dead_letters")
    assert ("2026-03-05.jsonl", 2, "parse_error") in {
        (row["src_file"], row["src_line"], row["error_type"]) for row in dead
    }
    assert_exact(stack.data, ORDINARY)


async def test_the_torn_line_of_today_waits_and_the_door_ends_it(stack: Stack, assert_exact: Exact) -> None:
    write_journal(stack, today(), [*ORDINARY[:3], ORDINARY[3][:100]], end=b"")
    stack.lake_writer()
    stack.wait_landed()
    assert len(ids_of(stack)) == 3
    assert read_rows(stack.data / "parquet" / "dead_letters") == []

    door = stack.door().wait_ready()
    assert await post_all(door.endpoint.http_port, ORDINARY[3:], connections=1) == [OK] * 3
    stack.wait_landed()
    assert len(ids_of(stack)) == len(ORDINARY)
    assert [row["src_line"] for row in read_rows(stack.data / "parquet" / "dead_letters")] == [4]
    assert_exact(stack.data, ORDINARY)


@pytest.mark.parametrize("landers", [1, 2])
async def test_a_journal_with_fewer_lines_than_before_is_read_again_from_line_1(
    stack: Stack, assert_exact: Exact, landers: int
) -> None:
    bad = b"{broken"
    before = [
        *(ORDINARY[0], contact("wxid_1", "old"), other(1), bad, ORDINARY[1], other(2), ORDINARY[2]),
        *(batch(data_of("91", FIRST_SECOND), {"no": "message"}), contact("wxid_2", "old"), b"", other(3)),
    ]
    journal = write_journal(stack, today(), before)
    for _ in range(landers):
        stack.lake_writer(LAND_INTERVAL_S="0")
    stack.wait_landed()

    # Put back from an older copy, with lines that it had and lines that are new.
    kept = before[:4]
    new = [contact("wxid_3", "new"), other(4), ORDINARY[3], bad]
    temporary = journal.with_name(".copy.tmp")
    temporary.write_bytes(b"\n".join([*kept, *new]) + b"\n")
    temporary.replace(journal)
    stack.wait_landed()

    # And lines come on after that, by a real door.
    door = stack.door().wait_ready()
    appended = [ORDINARY[4], other(5), contact("wxid_1", "newest"), deletion("wxid_2", 7), bad]
    assert await post_all(door.endpoint.http_port, appended, connections=1) == [OK] * 5
    stack.wait_landed()

    lake = stack.data / "parquet"
    assert sorted(row["msg_id"] for row in read_rows(lake / "messages")) == sorted(
        ["91", *(f"{40_000 + number}" for number in range(5))]
    )
    numbers = sorted(row["payload"] for row in read_rows(lake / "other"))
    assert numbers == sorted(other(number).decode() for number in range(1, 6))
    contacts = {row["username"]: row for row in read_rows(lake / "contacts")}
    assert contacts["wxid_1"]["nickName"] == '{"string":"newest"}'
    assert contacts["wxid_3"]["nickName"] == '{"string":"new"}'
    assert contacts["wxid_2"]["deleteFlag"] == 1
    dead = sorted((row["src_line"], row["body"]) for row in read_rows(lake / "dead_letters"))
    assert dead == [(4, "{broken"), (8, '{"no":"message"}'), (8, "{broken")]
    assert len(door_rejects(stack.data)) == 1


async def test_a_contact_received_after_its_journal_lost_lines_is_the_latest(stack: Stack) -> None:
    door, _ = stack.door().wait_ready(), stack.lake_writer()
    port = door.endpoint.http_port
    for place in range(8):
        assert await post_all(port, [contact("wxid_1", f"before {place}")]) == [OK]
    stack.wait_landed()

    journal = stack.data / "messages" / "raw" / f"{today()}.jsonl"
    os.truncate(journal, sum(len(line) for line in journal.read_bytes().splitlines(keepends=True)[:3]))
    stack.wait_landed()
    assert await post_all(port, [contact("wxid_1", "after")]) == [OK]
    stack.wait_landed()

    (row,) = read_rows(stack.data / "parquet" / "contacts")
    assert row["nickName"] == '{"string":"after"}'


async def test_a_lander_that_slept_while_a_journal_lost_lines_and_grew_again_lands_nothing_of_it_twice(
    stack: Stack,
) -> None:
    door, asleep = stack.door().wait_ready(), stack.lake_writer()
    port = door.endpoint.http_port
    assert await post_all(port, [other(number) for number in range(6)], connections=1) == [OK] * 6
    stack.wait_landed()
    asleep.pause()
    awake = stack.lake_writer()

    journal = stack.data / "messages" / "raw" / f"{today()}.jsonl"
    os.truncate(journal, sum(len(line) for line in journal.read_bytes().splitlines(keepends=True)[:2]))
    stack.wait_landed()
    # Longer than it was: for the one that sleeps it looks as if lines had been added where it stopped.
    assert await post_all(port, [other(number) for number in range(10, 30)], connections=1) == [OK] * 20
    stack.wait_landed()

    asleep.resume()
    assert await post_all(port, [other(number) for number in range(30, 35)], connections=1) == [OK] * 5
    wait_until(lambda: "batch_lost_race" in asleep.log() or "journal_replaced" in asleep.log(), 60, "awake")
    stack.wait_landed()
    awake.stop()
    asleep.stop()

    lake = stack.data / "parquet"
    wanted = [*range(6), *range(10, 35)]
    assert sorted(row["payload"] for row in read_rows(lake / "other")) == sorted(
        other(number).decode() for number in wanted
    )
    assert read_rows(lake / "dead_letters") == []


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York"])
async def test_the_host_time_zone_moves_no_row(tmp_path: Path, assert_exact: Exact, zone: str) -> None:
    midnight = int(datetime(2026, 3, 8, tzinfo=UTC).timestamp())  # a change of clocks in New York
    moments = [midnight + hours * 3600 + second for hours in range(-15, 16) for second in (-1, 0)]
    bodies = [message(f"{50_000 + number}", moment) for number, moment in enumerate(moments)]
    with Stack.embedded(tmp_path / "away", TZ=zone) as stack:
        day_before = today()
        door, writer = stack.door().wait_ready(), stack.lake_writer()
        assert set(await post_all(door.endpoint.http_port, bodies)) == {OK}
        stack.wait_landed()
        writer.stop()

        for row in read_rows(stack.data / "parquet" / "messages"):
            day = f"{row['year']}-{row['month']}-{row['day']}"
            moment = moments[int(row["msg_id"]) - 50_000]
            assert day == f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d}"
        journals = {file.stem for file in (stack.data / "messages" / "raw").glob("*.jsonl")}
        assert journals <= {day_before, today()}
        assert_exact(stack.data, bodies)


def test_a_journal_that_comes_late_for_a_day_long_past_lands_too(stack: Stack, assert_exact: Exact) -> None:
    write_journal(stack, "2026-03-05", [contact("wxid_1", "later"), ORDINARY[0]])
    stack.lake_writer()
    stack.wait_landed()
    write_journal(stack, "2026-03-01", [contact("wxid_1", "earlier"), contact("wxid_2", "x"), *ORDINARY])
    stack.wait_landed()
    contacts = {row["username"]: row for row in read_rows(stack.data / "parquet" / "contacts")}
    assert contacts["wxid_1"]["nickName"] == '{"string":"later"}'
    assert_exact(stack.data)
