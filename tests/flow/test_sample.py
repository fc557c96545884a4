"""The whole sample through a real door into the lake."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from millrace_testkit.builders import FIRST_SECOND, message
from millrace_testkit.load import OK, post_all
from millrace_testkit.model import compare, read_rows, sums

from .conftest import Landing, Posted

MOVES = {"ingestion_time", "src_door", "src_file", "src_line", "src_element"}
"""Columns that tell when and where a row came in; a second arrival may change them."""


@pytest.mark.slow
def test_the_sample_lands_as_its_truth_says_and_bad_bodies_are_kept_apart(
    posted_once: Posted, bodies: list[bytes], truth: dict[str, int], per_day: dict[str, int]
) -> None:
    assert posted_once.statuses == [OK] * (len(bodies) + 50)
    lake = posted_once.data / "parquet"
    messages = read_rows(lake / "messages")
    assert len(messages) == truth["distinct_messages"] == 22_512
    assert Counter(f"{row['create_time']:%Y-%m-%d}" for row in messages) == per_day
    assert len(per_day) == truth["days"]
    assert max(per_day.values()) == truth["busiest_day_rows"]
    assert len(read_rows(lake / "contacts")) == truth["distinct_contacts"] == 290
    assert len(read_rows(lake / "other")) == truth["other_lines"] == 66
    assert len(reject_lines(posted_once.data)) == 50

    assert compare(posted_once.data) == []
    totals = sums(posted_once.data)
    assert totals.lines == totals.accounted == len(bodies)
    assert totals.duplicates == truth["message_lines"] - truth["distinct_messages"]


@pytest.mark.slow
async def test_posted_twice_and_shuffled_the_lake_holds_the_same_rows(
    landing: Landing, posted_once: Posted, bodies: list[bytes], truth: dict[str, int]
) -> None:
    shuffled = [*bodies, *bodies]
    random.Random(20260305).shuffle(shuffled)
    # Many small batches, so that repeats meet across commits and not only within one.
    with landing(LAND_MAX_ROWS="2000") as (stack, door):
        assert set(await post_all(door.endpoint.http_port, shuffled, connections=8)) == {OK}
        stack.wait_landed()

    assert by_id(stack.data) == by_id(posted_once.data)
    assert len(read_rows(stack.data / "parquet" / "contacts")) == truth["distinct_contacts"]
    # The model holds each contact to its last payload in journal order, and the sums to the lines (LAKE-61).
    assert compare(stack.data) == []


async def test_one_msg_id_on_different_days_is_one_row(landing: Landing) -> None:
    day = 86_400
    same = [message("7304418832500000001", FIRST_SECOND + n * day, content=f"day {n}") for n in range(4)]
    named = [message("wxmsg-1", FIRST_SECOND + n * day, content=f"day {n}") for n in range(4)]
    with landing(LAND_MAX_ROWS="1") as (stack, door):
        assert await post_all(door.endpoint.http_port, [*same, *named], connections=1) == [OK] * 8
        stack.wait_landed()

        rows = {row["msg_id"]: row for row in read_rows(stack.data / "parquet" / "messages")}
        assert {msg_id: row["content"] for msg_id, row in rows.items()} == {
            "7304418832500000001": "day 0",
            "wxmsg-1": "day 0",
        }
        assert sums(stack.data).duplicates == 6
        assert compare(stack.data) == []


def by_id(data: Path) -> dict[str, dict[str, object]]:
    """The message rows without what a second arrival may change, by msg_id."""
    return {
        row["msg_id"]: {name: value for name, value in row.items() if name not in MOVES}
        for row in read_rows(data / "parquet" / "messages")
    }


def reject_lines(data: Path) -> list[dict[str, object]]:
    """The reject journal, line by line."""
    files = sorted((data / "messages" / "rejected").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]
