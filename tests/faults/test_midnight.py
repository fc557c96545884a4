"""Midnight while bodies come in: each line lies in the journal of its day, and both days land whole."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from ingest_service.compose_lake_writer import compose_lake_writer
from ingest_service.compose_webhook import compose_webhook
from ingest_service.land.settings import LakeWriterSettings
from ingest_service.processes.webhook import NoVerifier
from ingest_service.settings_webhook import WebhookSettings
from millrace_runtime.service import PORTS, serving
from millrace_testkit.builders import traffic
from millrace_testkit.clock import ManualClock
from millrace_testkit.load import OK, post_all
from millrace_testkit.model import read_rows
from millrace_testkit.ports import free_offset
from millrace_testkit.progress import unlanded
from millrace_testkit.stack import wait_until

from .conftest import Exact

pytestmark = pytest.mark.faults

BEFORE_MIDNIGHT = datetime(2026, 3, 5, 23, 59, 59, tzinfo=UTC)
LANDED_WITHIN_S = 60.0


@pytest.fixture
def clock() -> ManualClock:
    """A second before midnight."""
    return ManualClock(BEFORE_MIDNIGHT)


@pytest.fixture
async def door_port(tmp_path: Path, clock: ManualClock) -> AsyncIterator[int]:
    """HTTP port of a door that lives by `clock`, beside a lake writer that does."""
    bus = f"journal:{tmp_path}"
    endpoint = PORTS["ingest-service"].shifted(free_offset()).on("127.0.0.1")
    async with (
        compose_webhook(WebhookSettings(bus=bus), verifier=NoVerifier(), clock=clock) as service,
        compose_lake_writer(
            LakeWriterSettings(data=tmp_path, bus=bus), registry=CollectorRegistry(), clock=clock
        ),
        serving(service, endpoint),
    ):
        yield endpoint.http_port


async def test_midnight_under_load_divides_the_lines_and_loses_none(
    tmp_path: Path, clock: ManualClock, door_port: int, assert_exact: Exact
) -> None:
    bodies = list(itertools.islice(traffic(6), 900))
    before, across, after = bodies[:300], bodies[300:600], bodies[600:]
    assert set(await post_all(door_port, before)) == {OK}

    posting = asyncio.create_task(post_all(door_port, across, connections=8))
    await until_lines(tmp_path, 400)
    clock.advance(2)
    assert set(await posting) == {OK}
    assert set(await post_all(door_port, after)) == {OK}

    today = "2026-03-06"
    journals = {file.stem: file for file in (tmp_path / "messages" / "raw").glob("*.jsonl")}
    assert journals.keys() == {"2026-03-05", today}
    assert 390 < journals["2026-03-05"].read_bytes().count(b"\n") < 600, "midnight was not under load"
    await landed(tmp_path, today)
    assert_exact(tmp_path, bodies, today=today)
    # A notification without a time of its own tells by its journal on which day it came in.
    days = {row["received_day"] for row in read_rows(tmp_path / "parquet" / "other")}
    assert days == {"2026-03-05", today}


async def test_a_clock_set_back_over_midnight_goes_on_with_the_finished_day(
    tmp_path: Path, clock: ManualClock, door_port: int, assert_exact: Exact
) -> None:
    bodies = list(itertools.islice(traffic(7), 300))
    assert set(await post_all(door_port, bodies[:100])) == {OK}
    clock.advance(2)
    assert set(await post_all(door_port, bodies[100:200])) == {OK}
    await landed(tmp_path, "2026-03-06")
    clock.set_ms(int(BEFORE_MIDNIGHT.timestamp() * 1000))
    assert set(await post_all(door_port, bodies[200:])) == {OK}
    await landed(tmp_path, "2026-03-06")
    assert_exact(tmp_path, bodies, today="2026-03-06")


async def until_lines(data: Path, count: int) -> None:
    """Return when the journals hold that many lines."""

    def there() -> bool:
        files = (data / "messages" / "raw").glob("*.jsonl")
        return sum(file.read_bytes().count(b"\n") for file in files) >= count

    await asyncio.to_thread(wait_until, there, LANDED_WITHIN_S, f"{count} lines in the journals")


async def landed(data: Path, today: str) -> None:
    """Return when the lake holds every line."""
    await asyncio.to_thread(
        wait_until, lambda: not unlanded(data, today=today), LANDED_WITHIN_S, "every line landed"
    )
