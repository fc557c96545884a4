"""A relay between real journals and a real Kafka, each of them killed, cut off or full of bad luck."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace_testkit.builders import message, traffic
from millrace_testkit.bus_progress import end_offsets, unrelayed
from millrace_testkit.crash import wait_killed
from millrace_testkit.load import OK, post_all
from millrace_testkit.proxy import Proxy
from millrace_testkit.real import RealStack
from millrace_testkit.real_mode import RealInstallation
from millrace_testkit.relayed import differences, read_topic, repeats
from millrace_testkit.stack import Process, Stack, wait_until

from .conftest import Accepted
from .test_crash_points import RELAY, RELAY_CLOSING, RELAY_OFTEN

pytestmark = [pytest.mark.real, pytest.mark.faults]

SMALL = {"RELAY_MAX_RECORDS": "40"}


@pytest.fixture
def real(tmp_path: Path, real_stack: RealStack) -> Iterator[RealInstallation]:
    """An empty installation, no process running."""
    with Stack.real(tmp_path / "installation", real_stack) as stack:
        yield stack


@pytest.fixture
def filled_real(real: RealInstallation, accepted: Accepted) -> RealInstallation:
    """An installation whose journals are those of `accepted`."""
    shutil.copytree(accepted.data, real.data, dirs_exist_ok=True)
    return real


def wait_relayed(stack: RealInstallation, within_s: float = 60) -> None:
    wait_until(lambda: not unrelayed(stack.data), within_s, "every line relayed")


def readiness(process: Process) -> str:
    """What `/ready` answers."""
    url = f"http://127.0.0.1:{process.endpoint.management_port}/ready"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()


@pytest.mark.parametrize(
    ("moment", "hit"),
    [
        *((moment, 1) for moment in RELAY if "BODY" not in moment),
        *((moment, 4) for moment in RELAY_OFTEN if "BODY" not in moment),
    ],
)
def test_a_relay_killed_at_a_moment_leaves_nothing_out(
    filled_real: RealInstallation, moment: str, hit: int
) -> None:
    wait_killed(filled_real.relay(CRASH_AT=f"{moment}#{hit}", **SMALL))
    relay = filled_real.relay(**SMALL).wait_ready()
    wait_relayed(filled_real)
    relay.stop()
    assert differences(read_topic(filled_real.servers.kafka), filled_real.data) == []


def test_a_relay_killed_again_and_again_leaves_nothing_out(filled_real: RealInstallation) -> None:
    for number in range(1, 6):
        relay = filled_real.relay(RELAY_MAX_RECORDS="15")
        wait_until(lambda relay=relay: "relay_started" in relay.log(), 30, "relay started")
        time.sleep(0.05 * number)  # somewhere in the middle of its work
        relay.kill()
    relay = filled_real.relay(**SMALL).wait_ready()
    wait_relayed(filled_real)
    relay.stop()
    assert differences(read_topic(filled_real.servers.kafka), filled_real.data) == []


@pytest.mark.parametrize("moment", ["AFTER_POSITION_SAVED", *RELAY_CLOSING])
def test_a_relay_killed_while_it_closes_a_day_saves_where_its_records_end(
    filled_real: RealInstallation, moment: str
) -> None:
    raw = filled_real.data / "messages" / "raw"
    [today] = raw.glob("*.jsonl")
    past = today.rename(raw / "2026-03-05.jsonl")
    wait_killed(filled_real.relay(CRASH_AT=moment))
    assert closed_at(filled_real.data, past.stem) is None

    relay = filled_real.relay()
    wait_until(lambda: closed_at(filled_real.data, past.stem) is not None, 30, "the day closed")
    ends = end_offsets(filled_real.servers.kafka, ["webhook.messages"])
    assert closed_at(filled_real.data, past.stem) == ends
    # What comes later does not move it.
    door = filled_real.door().wait_ready()
    assert set(asyncio.run(post_all(door.endpoint.http_port, [message("late")]))) == {OK}
    wait_relayed(filled_real)
    relay.stop()
    assert closed_at(filled_real.data, past.stem) == ends
    for record in read_topic(filled_real.servers.kafka):
        assert record.place is not None
        [end] = [end for name, end in ends.items() if name.endswith(f"/{record.partition}")]
        assert (record.offset < end) == (record.place[1] == past.stem)


def closed_at(data: Path, day: str) -> dict[str, int] | None:
    """The last record of each partition when that day was relayed to its end; None while it is not saved."""
    journals = [
        json.loads(file.read_bytes())["journals"] for file in (data / "metadata" / "relay").glob("*.json")
    ]
    found: dict[str, int] | None = journals[0][day].get("ends") if journals else None
    return found


async def test_kafka_killed_and_back_under_load(real: RealInstallation) -> None:
    door, relay = real.door().wait_ready(), real.relay().wait_ready()
    bodies = list(itertools.islice(traffic(11), 900))
    kafka = real.servers.kafka_server
    assert set(await post_all(door.endpoint.http_port, bodies[:300])) == {OK}
    posting = asyncio.create_task(post_all(door.endpoint.http_port, bodies[300:600], connections=2))
    await asyncio.to_thread(kafka.kill)
    assert set(await posting) == {OK}  # the door does not depend on it
    await asyncio.to_thread(wait_until, lambda: not relay.ready(), 30, "the relay says that it is not ready")
    assert "publish" in readiness(relay)
    assert set(await post_all(door.endpoint.http_port, bodies[600:])) == {OK}
    assert unrelayed(real.data)
    await asyncio.to_thread(kafka.start)
    await asyncio.to_thread(wait_relayed, real, 30)
    relay.wait_ready(10)
    assert differences(read_topic(real.servers.kafka), real.data) == []


def test_acknowledgements_that_are_lost_make_repeats_and_no_disorder(
    filled_real: RealInstallation,
) -> None:
    kafka = filled_real.servers.kafka_server
    with Proxy(kafka.behind_proxy, kafka.proxied_port) as proxy:
        relay = filled_real.relay(BUS=f"kafka://{kafka.proxied}", KAFKA_DELIVERY_TIMEOUT_S="2", **SMALL)
        for _ in range(4):
            proxy.stall_answers()
            time.sleep(0.7)  # what is sent meanwhile is stored and not acknowledged
            proxy.reset()
            proxy.restore()
            time.sleep(0.2)
        wait_relayed(filled_real)
        relay.stop()
    assert differences(read_topic(filled_real.servers.kafka), filled_real.data) == []


def test_a_wire_that_is_cut_stalled_and_slow_only_delays(filled_real: RealInstallation) -> None:
    kafka = filled_real.servers.kafka_server
    with Proxy(kafka.behind_proxy, kafka.proxied_port) as proxy:
        proxy.cut()
        relay = filled_real.relay(BUS=f"kafka://{kafka.proxied}", KAFKA_DELIVERY_TIMEOUT_S="3", **SMALL)
        wait_until(lambda: "relay_step_failed" in relay.log(), 30, "the relay to notice")
        proxy.delay(0.1)
        time.sleep(1)
        proxy.stall()
        time.sleep(4)
        proxy.restore()
        wait_relayed(filled_real)
        relay.stop()
    assert differences(read_topic(filled_real.servers.kafka), filled_real.data) == []


def test_a_topic_that_is_removed_is_made_again(filled_real: RealInstallation) -> None:
    relay = filled_real.relay()
    wait_relayed(filled_real)
    filled_real.servers.kafka_server.delete_topics(["webhook.messages"])
    door = filled_real.door().wait_ready()
    bodies = [message("late-1"), message("late-2")]
    assert set(asyncio.run(post_all(door.endpoint.http_port, bodies))) == {OK}
    wait_relayed(filled_real)
    relay.stop()
    assert sorted(record.value for record in read_topic(filled_real.servers.kafka)) == sorted(bodies)


def test_a_relay_catches_up(filled_real: RealInstallation, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints how fast; the benchmark `relay` says how fast it should be."""
    journal = min((filled_real.data / "messages" / "raw").glob("*.jsonl"))
    lines = [message(f"{7_400_000_000_000_000_000 + number}") + b"\n" for number in range(60_000)]
    with journal.open("ab") as file:
        file.writelines(lines)
    relay = filled_real.relay()
    wait_until(lambda: "relay_started" in relay.log(), 30, "relay started")
    began = time.monotonic()
    wait_relayed(filled_real)
    seconds = time.monotonic() - began
    relay.stop()
    with capsys.disabled():
        print(
            f"\n[relay] {len(lines):,} lines behind, level after {seconds:.1f} s: {len(lines) / seconds:,.0f}/s"
        )
    records = read_topic(filled_real.servers.kafka)
    assert differences(records, filled_real.data) == []
    assert repeats(records) == 0
