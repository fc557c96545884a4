"""What a relay has brought to Kafka, read by another client than ours and held against the journals.

An independent reading of what a line becomes: blank lines nothing, batches of several elements a batch of one for
each, every other line its own bytes.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition

_ANSWER_WITHIN_S = 30.0
_BATCH = 5_000

Place = tuple[str, str, int, int]
"""Door, day, line and element."""


@dataclass(frozen=True)
class Relayed:
    """One record as it is on Kafka; `place` is its origin, None where it has none."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: Mapping[str, bytes]
    timestamp_ms: int

    @property
    def place(self) -> Place | None:
        if "millrace-origin" not in self.headers:
            return None
        door, day, line, element, _ = self.headers["millrace-origin"].decode().split("/")
        return door, day, int(line), int(element)


def read_topic(bootstrap: str, topic: str = "webhook.messages") -> list[Relayed]:
    """Every record that the topic holds, partition by partition, in order. Raises KafkaException."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "test-reader",
            "enable.auto.commit": False,
            "enable.partition.eof": False,
            "log_level": 0,
        }
    )
    try:
        numbers = consumer.list_topics(topic, timeout=_ANSWER_WITHIN_S).topics[topic].partitions
        ends = {
            number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_ANSWER_WITHIN_S)
            for number in numbers
        }
        consumer.assign([TopicPartition(topic, number, low) for number, (low, _) in ends.items()])
        found: list[Relayed] = []
        wanted = sum(high - low for low, high in ends.values())
        until = time.monotonic() + _ANSWER_WITHIN_S
        while len(found) < wanted and time.monotonic() < until:
            found += map(_relayed, consumer.consume(min(_BATCH, wanted - len(found)), timeout=1.0))
    finally:
        consumer.close()
    assert len(found) >= wanted, f"{len(found)} of {wanted} records within {_ANSWER_WITHIN_S:g} s"
    return sorted(found, key=lambda record: (record.partition, record.offset))


def differences(records: Iterable[Relayed], data: Path) -> list[str]:
    """What is wrong about these records, the journals below `data` being closed or relayed; [] when all is well.

    Every part of every line is there, with the value that it should have, a key in one partition only; repeats
    are allowed. In no partition does a part come for the first time behind a later one of its door.
    """
    expected = _expected(data)
    found: dict[Place, Relayed] = {}
    said: list[str] = []
    partitions: dict[bytes | None, int] = {}
    highest: dict[tuple[int, str], Place] = {}
    for record in records:
        place = record.place
        if place is None or place not in expected:
            said.append(f"{record.partition}/{record.offset}: no part of a line: {place}")
            continue
        if not _same(record, expected[place]):
            said.append(f"{record.partition}/{record.offset}: another value than {place}")
        if partitions.setdefault(record.key, record.partition) != record.partition:
            said.append(f"{record.partition}/{record.offset}: key {record.key!r} in two partitions")
        above = highest.get((record.partition, place[0]), place)
        if place not in found and place < above:
            said.append(f"{record.partition}/{record.offset}: {place} first comes behind {above}")
        highest[record.partition, place[0]] = max(place, above)
        found.setdefault(place, record)
    return said + [f"{place} is missing" for place in sorted(expected.keys() - found.keys())]


def repeats(records: Iterable[Relayed]) -> int:
    """How many of the records had come before."""
    return sum(times - 1 for times in Counter(record.place for record in records).values())


def _expected(data: Path) -> dict[Place, bytes | dict[str, Any]]:
    root = data / "messages" / "raw"
    door = (root / ".door").read_text().strip()
    expected: dict[Place, bytes | dict[str, Any]] = {}
    for file in sorted(root.glob("*.jsonl")):
        for number, line in enumerate(file.read_bytes().split(b"\n"), 1):
            for element, part in enumerate(_parts(line)):
                expected[door, file.stem, number, element] = part
    return expected


def _parts(line: bytes) -> list[bytes | dict[str, Any]]:
    if not line.strip():
        return []
    try:
        payload = json.loads(line)
    except ValueError:
        return [line]
    if isinstance(payload, dict) and payload.get("notify_type") == 1011:
        data = payload.get("data")
        if isinstance(data, list) and len(data) > 1:
            return [payload | {"data": [element]} for element in data]
    return [line]


def _same(record: Relayed, expected: bytes | dict[str, Any]) -> bool:
    return record.value == expected if isinstance(expected, bytes) else json.loads(record.value) == expected


def _relayed(message: Any) -> Relayed:
    assert message.error() is None, message.error()
    return Relayed(
        message.partition(),
        message.offset(),
        message.key(),
        message.value(),
        dict(message.headers() or ()),
        message.timestamp()[1],
    )
