"""Lake writers as processes on a real Kafka: shared, killed, suspended, joined; topics that change behind them."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from millrace.events.v1 import envelope_pb2
from millrace_testkit.builders import message, not_json, other, traffic
from millrace_testkit.bus_progress import unlanded_records, unrelayed
from millrace_testkit.model import compare, read_rows
from millrace_testkit.real import RealStack
from millrace_testkit.real.kafka import KafkaServer
from millrace_testkit.real_mode import RealInstallation
from millrace_testkit.stack import Process, Stack, wait_until

from .journals import TODAY, write_journal
from .kafka import TOPIC, Entry, foreign, origin, relayed
from .real_topic import RealTopic, header

pytestmark = [pytest.mark.real, pytest.mark.faults]

SESSION_S = 6
UNKNOWN = ("tombstone", "unknown_content_type")
SMALL = {"LAND_MAX_ROWS": "400", "LAND_INTERVAL_S": "0.05", "INDEX_SNAPSHOT_KEYS": "500"}


@pytest.fixture
def kafka(real_kafka: KafkaServer) -> KafkaServer:
    return real_kafka


@pytest.fixture
def stack(tmp_path: Path, kafka: KafkaServer) -> Iterator[Stack]:
    settings = {"MILLRACE_BUS": kafka.url, "MILLRACE_KAFKA_SESSION_TIMEOUT_S": str(SESSION_S)}
    with Stack(tmp_path / "installation", **settings) as stack:
        yield stack


@pytest.fixture
def topic(kafka: KafkaServer) -> Iterator[RealTopic]:
    topic = RealTopic(kafka.bootstrap, 8)
    yield topic
    topic.remove()


def writer_of(stack: Stack, kafka: KafkaServer, **settings: str) -> Process:
    return stack.lake_writer(BUS=kafka.url, **SMALL, **settings)


class Load(threading.Thread):
    """Publishes mixed traffic until it is told to end: each body twice, to two partitions, half of them unkeyed.

    Half of the bodies are relayed from a journal, the others have none.
    """

    def __init__(self, topic: RealTopic, rate: int, seed: int) -> None:
        super().__init__(daemon=True)
        self._topic = topic
        self._pause_s = 20 / rate
        self._bodies = traffic(seed)
        self._over = threading.Event()
        self.journal: list[bytes] = []

    def run(self) -> None:
        for number in itertools.count():
            if self._over.is_set():
                return
            some = [body.replace(b"\n", b" ") for body in itertools.islice(self._bodies, 20)]
            entries: list[Entry]
            if number % 2:
                entries = relayed(some, first=len(self.journal) + 1)
                self.journal += some
            else:
                entries = foreign(*some, at_ms=1_773_450_000_000 + 37 * number)
            self._topic.publish(entries, partition=number % 8)
            self._topic.publish(entries, keyed=bool(number % 3))
            time.sleep(self._pause_s)  # the rate is the load

    def finish(self) -> None:
        """Returns when everything is published."""
        self._over.set()
        self.join(60)
        assert not self.is_alive()


@pytest.mark.slow
@pytest.mark.parametrize("writers", [2, 3])
def test_writers_that_are_killed_suspended_and_joined_leave_every_row_once(
    stack: Stack, kafka: KafkaServer, topic: RealTopic, writers: int
) -> None:
    load = Load(topic, 300, seed=writers)
    load.start()
    running = [writer_of(stack, kafka).wait_ready() for _ in range(writers)]
    time.sleep(2)  # some batches of each
    running[0].kill()
    time.sleep(1)
    running[1].pause()
    added = writer_of(stack, kafka)
    time.sleep(SESSION_S + 3)  # its session ends, and what it holds goes to others
    running[1].resume()
    time.sleep(2)
    running.append(writer_of(stack, kafka))
    time.sleep(2)
    load.finish()
    topic.wait_landed(stack.data)
    for process in [*running[1:], added]:
        process.stop()
    write_journal(stack.data / "messages" / "raw", load.journal)
    foreigners = topic.foreign_lines()
    assert len(foreigners) > 500
    assert len(load.journal) > 500
    assert compare(stack.data, today=TODAY, foreign=foreigners) == []


def test_a_topic_made_anew_behind_a_suspended_writer_is_read_from_its_start(
    stack: Stack, kafka: KafkaServer, topic: RealTopic
) -> None:
    writer = writer_of(stack, kafka)
    first = [message("1"), other(1), not_json(0)] * 2
    topic.publish(foreign(*first))
    topic.wait_landed(stack.data)
    before = topic.foreign_lines()
    writer.pause()
    topic.remove()
    topic.make()
    more = [body for n in range(100) for body in (message(str(n)), other(n), not_json(n))]
    topic.publish(foreign(*more))
    writer.resume()
    topic.wait_landed(stack.data)
    writer.stop()
    assert compare(stack.data, today=TODAY, journals=[], foreign=[*before, *topic.foreign_lines()]) == []


def test_records_that_retention_removed_unread_end_it_until_they_are_replayed(
    tmp_path: Path, real_stack: RealStack
) -> None:
    """What it prints is what brings them back: the command at the door, and the setting to go on with."""
    lines = [body.replace(b"\n", b" ") for body in itertools.islice(traffic(31), 400)]
    with Stack.real(tmp_path / "installation", real_stack) as stack:
        write_journal(stack.data / "messages" / "raw", lines[:200])
        stack.relay()
        first = stack.lake_writer(**SMALL)
        wait_until(lambda: level(stack), 60, "the first day in the lake")
        first.stop()
        write_journal(stack.data / "messages" / "raw", lines[200:], day="2026-03-15")
        wait_until(lambda: not unrelayed(stack.data), 60, "the second day on Kafka")
        topic = RealTopic(real_stack.kafka, 16, there=True)
        held, ends = topic.left(stack.data), topic.ends()
        gone = sorted(held)[:3]
        for name in gone:
            topic.expire(int(name.rpartition("/")[2]), ends[name])  # all but the last one

        stopped = stack.lake_writer(**SMALL)
        assert stopped.wait() == 1
        said = [line.strip() for line in stopped.log().splitlines()]
        left = topic.left(stack.data)
        assert {name: left[name] for name in gone} == {name: held[name] for name in gone}
        (past,) = {line.partition("=")[2] for line in said if line.startswith("MILLRACE_LAND_PAST_LOSS=")}
        assert {part.partition("@")[0] for part in past.split(",")} <= set(gone)
        (command,) = {line for line in said if line.startswith("ingest-service replay --door door-1 ")}
        assert "--from 2026-03-14:" in command
        at_the_door = {"DATA": str(stack.data), "BUS": stack.bus, "OBJECTS": stack.objects}
        done = subprocess.run(
            [str(Path(sys.executable).with_name("ingest-service")), *shlex.split(command)[1:]],
            env=os.environ | {f"MILLRACE_{name}": value for name, value in at_the_door.items()},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

        after = stack.lake_writer(LAND_PAST_LOSS=past, **SMALL)
        wait_until(lambda: level(stack), 60, "everything in the lake")
        after.stop()
        assert compare(stack.data, today=TODAY) == []


def level(stack: RealInstallation) -> bool:
    """Whether Kafka has every line and the lake every record."""
    return not unrelayed(stack.data) and not unlanded_records(stack.data, stack.servers.kafka, [TOPIC])


def test_whatever_another_client_publishes_lands_once(
    stack: Stack, kafka: KafkaServer, topic: RealTopic
) -> None:
    payload = message("in-an-envelope")
    wrapped = envelope_pb2.Envelope(
        event_id="e-1", source="wechat", content_type="application/json", body=payload
    ).SerializeToString()
    unknown = envelope_pb2.Envelope(content_type="text/plain", body=b"x").SerializeToString()
    large = json.loads(message("large"))
    large["data"]["content"] = "好" * 3_300_000
    values = [
        message("1"),
        b'{\n  "guid": "g",\n  "notify_type": 1006,\n  "data": {}\n}',
        wrapped,
        unknown,
        b"\x00\x01garbage",
        b"",
        json.dumps(large, ensure_ascii=False).encode(),
        *itertools.islice(traffic(41), 100),
    ]
    topic.publish(foreign(*values))
    topic.publish(foreign(*values), keyed=True)
    forged = origin(7, day="9999-99-99")
    topic.publish([(message("forged"), forged, 5)], partition=0)
    topic.tombstone(3)
    writer = writer_of(stack, kafka)
    topic.wait_landed(stack.data)
    writer.stop()
    rows = {row["msg_id"]: row for row in read_rows(stack.data / "parquet" / "messages")}
    assert len(rows["large"]["content"]) == 3_300_000
    assert rows["forged"]["src_door"] == f"{topic.id}/0"

    # The model knows no Envelopes: it is told what they hold, and nothing of those that hold nothing.
    lines = topic.foreign_lines(header(forged))
    opened = [
        replace(line, raw=payload) if line.raw == wrapped else line for line in lines if line.raw != unknown
    ]
    differences = compare(stack.data, today=TODAY, journals=[], foreign=opened)
    strangers = [
        row for row in read_rows(stack.data / "parquet" / "dead_letters") if row["reason"] in UNKNOWN
    ]
    assert sorted(row["reason"] for row in strangers) == [
        "tombstone",
        "unknown_content_type",
        "unknown_content_type",
    ]
    assert len([one for one in differences if "should not be there" in one]) == len(strangers)
    assert (
        len([one for one in differences if "should not be there" not in one]) == 1
    )  # the sum of their lines
