"""Chunks as Kafka gives them, made by hand: a topic of some partitions that keeps what is published to it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ingest_service.land.kinds import MESSAGE_BATCH
from millrace_ports.bus.port import Chunk, Origin, Partition

TOPIC = "webhook.messages"
DAY = "2026-03-14"
FIRST_MS = 1_773_449_999_999  # line n of a hand-made journal is received n ms later

Entry = tuple[bytes, Origin | None, int]


def origin(line: int, element: int = 0, *, door: str = "door-1", day: str = DAY) -> Origin:
    """Where a relayed record comes from; later lines were received later."""
    return Origin(door, day, line, element, FIRST_MS + line)


def relayed(lines: Sequence[bytes], *, door: str = "door-1", day: str = DAY, first: int = 1) -> list[Entry]:
    """Records of these lines as a relay publishes them: blank ones none, a batch one for each element."""
    entries: list[Entry] = []
    for line, value in enumerate(lines, first):
        for element, part in enumerate(_parts(value)):
            entries.append((part, origin(line, element, door=door, day=day), FIRST_MS + line))
    return entries


def foreign(*values: bytes | dict[str, Any], at_ms: int = FIRST_MS) -> list[Entry]:
    """Records of a producer that is no relay."""
    return [(_encoded(value), None, at_ms) for value in values]


def _encoded(value: bytes | dict[str, Any]) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def _parts(value: bytes) -> Iterator[bytes]:
    if not value.strip():
        return
    try:
        payload = json.loads(value)
    except ValueError:
        payload = None
    data = payload.get("data") if isinstance(payload, dict) else None
    if not isinstance(data, list) or len(data) < 2 or payload["notify_type"] != MESSAGE_BATCH:
        yield value
        return
    for element in data:
        yield json.dumps({**payload, "data": [element]}, ensure_ascii=False).encode()


class Topic:
    """`<topic id>/0` to `<topic id>/<partitions - 1>`, records numbered from 1."""

    def __init__(self, topic_id: str = "Lk7_topicA-xyz0123456789", partitions: int = 4) -> None:
        self.partitions = [Partition(TOPIC, f"{topic_id}/{number}") for number in range(partitions)]
        self._records: dict[Partition, list[Entry]] = defaultdict(list)
        self.traceparents: dict[Partition, dict[int, str]] = {}

    def publish(self, entries: Iterable[Entry], *, shift: int = 0) -> None:
        """Spread over the partitions, by the line's number as a key would, or in turn without one."""
        for place, entry in enumerate(entries):
            _, where, _ = entry
            key = place if where is None else where.line + where.element
            self._records[self.partitions[(key + shift) % len(self.partitions)]].append(entry)

    def chunk(self, partition: Partition, start: int = 0, end: int | None = None) -> Chunk:
        """Records (start, end] of the partition."""
        records = self._records[partition][start:end]
        origins = [where for _, where, _ in records]
        return Chunk(
            partition,
            start,
            start + len(records),
            [value for value, _, _ in records],
            range(start + 1, start + len(records) + 1),
            [at for _, _, at in records],
            origins if any(origins) else None,
            traceparents={
                number: text
                for number, text in self.traceparents.get(partition, {}).items()
                if start < number <= start + len(records)
            },
        )

    def chunks(self, at_most: int = 7) -> Iterator[Chunk]:
        """All records, in chunks of some, the partitions in turn."""
        starts = dict.fromkeys(self.partitions, 0)
        while starts:
            for partition, start in list(starts.items()):
                chunk = self.chunk(partition, start, start + at_most)
                if chunk.values:
                    yield chunk
                    starts[partition] = chunk.end
                else:
                    del starts[partition]
