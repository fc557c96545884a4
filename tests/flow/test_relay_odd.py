"""Records that are too large, that Kafka refuses, that it has lost: each of them ends in the lake all the same."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import NewTopic

from millrace_testkit.builders import batch, data_of, message, other, traffic
from millrace_testkit.bus_progress import unrelayed
from millrace_testkit.load import OK, post_all
from millrace_testkit.model import compare, read_rows
from millrace_testkit.real import RealStack
from millrace_testkit.real_mode import RealInstallation
from millrace_testkit.relayed import read_topic
from millrace_testkit.stack import Stack, wait_until

pytestmark = pytest.mark.real

TOPIC = "webhook.messages"


@pytest.fixture
def real(tmp_path: Path, real_stack: RealStack) -> Iterator[RealInstallation]:
    """An empty installation, no process running."""
    with Stack.real(tmp_path / "installation", real_stack) as stack:
        yield stack


def noise(size: int) -> str:
    """Text that no compression makes smaller than three quarters."""
    return base64.b64encode(random.Random(size).randbytes(size * 3 // 4)).decode()


def post(stack: RealInstallation, *bodies: bytes) -> None:
    """Through a door, one after the other."""
    door = stack.door().wait_ready()
    assert asyncio.run(post_all(door.endpoint.http_port, bodies, connections=1)) == [OK] * len(bodies)
    door.stop()


def land(stack: RealInstallation) -> None:
    """Until the lake holds everything."""
    relay, writer = stack.relay(), stack.lake_writer()
    stack.wait_landed()
    writer.stop()
    relay.stop()


def replay(stack: RealInstallation, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`ingest-service replay` at the door."""
    settings = {"DATA": str(stack.data), "BUS": stack.bus, "OBJECTS": stack.objects}
    return subprocess.run(
        [str(Path(sys.executable).with_name("ingest-service")), "replay", *arguments],
        env={"PATH": os.environ["PATH"]} | {f"MILLRACE_{name}": value for name, value in settings.items()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_bodies_larger_than_the_bus_takes_are_rows_like_others(real: RealInstallation) -> None:
    large = message("2", content=noise(20 << 20))
    parts = batch(
        data_of("3", 1), data_of("4", 1, content=noise(17 << 20)), {"no": "id", "text": noise(17 << 20)}
    )
    post(real, message("1"), large, other(1), parts, message("5"))
    land(real)
    assert compare(real.data) == []
    assert {row["msg_id"] for row in read_rows(real.data / "parquet" / "messages")} == {
        "1",
        "2",
        "3",
        "4",
        "5",
    }
    objects = [path for path in Path(real.objects.removeprefix("file://")).rglob("*") if path.is_file()]
    assert sorted(path.name for path in objects) == ["2-0", "4-1", "4-2"]


def test_a_record_that_kafka_refuses_for_good_is_a_dead_letter(real: RealInstallation) -> None:
    """A topic that takes less than its YAML says, because somebody has made it so."""
    new = NewTopic(TOPIC, num_partitions=4, replication_factor=1, config={"max.message.bytes": str(1 << 20)})
    admin = real.servers.kafka_server.admin()
    admin.create_topics([new])[TOPIC].result(30)
    refused = message("2", content=noise(3 << 20))
    post(real, message("1"), refused, message("3"))
    land(real)
    assert {row["msg_id"] for row in read_rows(real.data / "parquet" / "messages")} == {"1", "3"}
    [letter] = read_rows(real.data / "parquet" / "dead_letters")
    assert (letter["error_type"], letter["reason"]) == ("bus_error", "refused_by_bus")
    assert letter["body"].encode() == refused
    assert (letter["src_line"], letter["src_element"]) == (2, 0)

    # Mended, and sent again.
    real.servers.kafka_server.delete_topics([TOPIC])
    day = letter["src_file"].removesuffix(".jsonl")
    done = replay(real, "--from", f"{day}:2", "--to", f"{day}:2")
    assert done.returncode == 0, done.stderr
    writer = real.lake_writer()
    wait_until(lambda: "2" in _ids(real.data), 60, "the mended message in the lake")
    writer.stop()


def test_what_kafka_has_lost_comes_back_by_replay(real: RealInstallation) -> None:
    bodies = [body for _, body in zip(range(300), traffic(21), strict=False)]
    post(real, *bodies)
    relay = real.relay()
    wait_until(lambda: not unrelayed(real.data), 60, "every line relayed")
    relay.stop()
    sent = read_topic(real.servers.kafka)
    real.servers.kafka_server.delete_topics([TOPIC])  # before a lake writer has seen any of it

    days = sorted(file.stem for file in (real.data / "messages" / "raw").glob("*.jsonl"))
    done = replay(real, "--from", days[0])
    assert done.returncode == 0, done.stderr
    assert f"as {len(sent)} records" in done.stderr
    again = read_topic(real.servers.kafka)
    assert {record.place: record.value for record in again} == {record.place: record.value for record in sent}
    land(real)
    assert compare(real.data) == []


def test_replaying_what_the_lake_holds_changes_nothing(real: RealInstallation) -> None:
    post(real, *(body for _, body in zip(range(200), traffic(22), strict=False)))
    land(real)
    assert compare(real.data) == []
    for _ in range(2):
        assert replay(real, "--from", "2020-01-01").returncode == 0
    land(real)
    assert compare(real.data) == []


def test_replay_of_nothing_says_so(real: RealInstallation) -> None:
    post(real, message("1"))
    done = replay(real, "--from", "2020-01-01")
    assert done.returncode == 66  # not relayed yet: that is the relay's work
    assert "relayed lines" in done.stderr


def _ids(data: Path) -> set[str]:
    return {row["msg_id"] for row in read_rows(data / "parquet" / "messages")}
