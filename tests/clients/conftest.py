"""Producers that know nothing of Millrace, and what they have left on the topic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from millrace_testkit.bus_progress import end_offsets
from millrace_testkit.model import foreign_line
from millrace_testkit.model.journals import Line
from millrace_testkit.real import RealStack
from millrace_testkit.real_mode import RealInstallation
from millrace_testkit.stack import Stack

TOPIC = "webhook.messages"
READ_WITHIN_S = 60.0


@pytest.fixture
def installation(tmp_path: Path, real_stack: RealStack) -> Iterator[RealInstallation]:
    """A lake writer that is ready: the topics are there."""
    with Stack.real(tmp_path / "installation", real_stack) as stack:
        stack.lake_writer().wait_ready()
        yield stack


@dataclass(frozen=True)
class Stored:
    """A record as the broker holds it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    relayed: bool
    line: Line


def stored_records(stack: RealInstallation) -> list[Stored]:
    """Every record of the topic, in the order of each partition."""
    bootstrap = stack.servers.kafka
    ends = end_offsets(bootstrap, [TOPIC])
    topic_id = next(iter(ends)).rpartition("/")[0]
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reads-all", "log_level": 0})
    consumer.assign([TopicPartition(TOPIC, int(name.rpartition("/")[2]), 0) for name in ends])
    try:
        return [_stored(record, topic_id) for record in consumer.consume(sum(ends.values()), READ_WITHIN_S)]
    finally:
        consumer.close()


def _stored(record, topic_id: str) -> Stored:  # type: ignore[no-untyped-def]
    place = (record.partition(), record.offset())
    value = record.value()
    line = foreign_line(TOPIC, topic_id, *place, record.timestamp()[1], value or b"")
    relayed = any(name == "millrace-origin" for name, _ in record.headers() or ())
    return Stored(*place, record.key(), value, relayed, line)


def foreign_lines(stack: RealInstallation) -> list[Line]:
    """What producers without a journal have sent, for the model."""
    return [record.line for record in stored_records(stack) if not record.relayed]
