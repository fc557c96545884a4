"""Plain JSON on the topic, whoever produced it, with a key or without, lands like what the doors take in."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path

import pytest
from confluent_kafka import Producer

from millrace_testkit.builders import traffic
from millrace_testkit.load import OK, post_all
from millrace_testkit.model import compare, read_rows
from millrace_testkit.real import programs
from millrace_testkit.real_mode import RealInstallation

from .conftest import TOPIC, foreign_lines, stored_records

pytestmark = [pytest.mark.real, pytest.mark.slow]

COUNT = 600
COMPILED_WITHIN_S = 120
PRODUCED_WITHIN_S = 120


def keyed(bodies: list[bytes]) -> list[tuple[str, bytes]]:
    """The first half with a key of the producer's own making, the rest with none."""
    return [(f"order-{n % 7}" if n < len(bodies) // 2 else "", body) for n, body in enumerate(bodies)]


async def test_what_confluent_kafka_produces_lands_beside_what_a_door_takes_in(
    installation: RealInstallation,
) -> None:
    door, relay = installation.door().wait_ready(), installation.relay().wait_ready()
    bodies = list(itertools.islice(traffic(31), COUNT))
    producer = Producer({"bootstrap.servers": installation.servers.kafka, "log_level": 0})
    for key, body in keyed(bodies):
        producer.produce(TOPIC, value=body, key=key or None)
    # The same again through the door: who came first is open, that there is one row is not.
    again = [*bodies[::3], *itertools.islice(traffic(32), 100)]
    assert set(await post_all(door.endpoint.http_port, again)) == {OK}
    assert producer.flush(PRODUCED_WITHIN_S) == 0
    installation.wait_landed()
    relay.stop()

    foreign = foreign_lines(installation)
    assert len(foreign) == COUNT
    assert compare(installation.data, foreign=foreign) == []
    assert {row["src_file"] for row in read_rows(installation.data / "parquet" / "messages")} > {TOPIC}


def test_what_a_java_producer_sends_lands(installation: RealInstallation, tmp_path: Path) -> None:
    if shutil.which("javac") is None:
        pytest.skip("no javac on PATH: a JRE alone cannot compile the producer")
    source = Path(__file__).with_name("java") / "Producer.java"
    classes = programs.kafka_class_path()
    compile_it = ["javac", "-cp", classes, "-d", str(tmp_path / "classes"), str(source)]
    subprocess.run(compile_it, check=True, timeout=COMPILED_WITHIN_S)
    lines = tmp_path / "records.tsv"
    bodies = list(itertools.islice(traffic(33), COUNT))
    lines.write_bytes(b"".join(key.encode() + b"\t" + body + b"\n" for key, body in keyed(bodies)))
    produce = [programs.java(), "-cp", f"{tmp_path / 'classes'}:{classes}", "Producer"]
    subprocess.run(
        [*produce, installation.servers.kafka, TOPIC, str(lines)], check=True, timeout=PRODUCED_WITHIN_S
    )
    installation.wait_landed()

    records = stored_records(installation)
    assert sorted(record.value or b"" for record in records) == sorted(bodies)
    assert {record.key for record in records} == {None, *(f"order-{n}".encode() for n in range(7))}
    assert compare(installation.data, foreign=[record.line for record in records]) == []
