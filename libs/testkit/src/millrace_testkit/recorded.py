"""A bus on disk that keeps whole records, keys and origins included, so that they can be read back.

For what publishes without reading: the embedded bus behind it is real, and so is what a crash leaves.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from millrace_ports.bus import Consumer, Origin, Partition, Positions, Record
from millrace_ports.bus.embedded import EmbeddedBus
from millrace_ports.errors import InvalidRecordError, StorageUnavailableError
from millrace_schemas.topics import Topic

_MOMENT_MS = 1_772_712_000_000


class RecordedBus:
    """Each record published to a topic becomes a line of an embedded topic below `path`.

    `away` makes it unavailable, the text being the reason; `refuses` says why it will never take a record,
    or nothing; a topic that is made anew has another `id`.
    """

    def __init__(self, path: Path) -> None:
        self.away = ""
        self.id = "recorded"
        self.refuses: Callable[[Record], str | None] = lambda record: None
        self._path = path
        self._bus = EmbeddedBus(path, now_ms=lambda: _MOMENT_MS)

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        """See the port: there is nothing to make."""

    async def publish(self, topic: str, records: Sequence[Record]) -> None:
        """Durable when it returns; see the port."""
        for index, record in enumerate(records):
            if why := self.refuses(record):
                raise InvalidRecordError(index, why)
        if self.away:
            raise StorageUnavailableError(self.away)
        await self._bus.publish(f"recorded.{topic}", [Record(_packed(record)) for record in records])

    def consumer(self, topic: str, group: str, positions: Positions, *, traced: bool = False) -> Consumer:
        """Not offered: `records` reads."""
        raise NotImplementedError

    async def topic_id(self, topic: str) -> str:
        """See the port."""
        if self.away:
            raise StorageUnavailableError(self.away)
        return self.id

    async def ends(self, topic: str) -> Mapping[Partition, int]:
        """See the port: there is one partition."""
        return {Partition(topic, f"{await self.topic_id(topic)}/0"): len(self.records(topic))}

    async def group_lag(self, topic: str, group: str) -> Mapping[Partition, int]:
        """See the port: nobody reads here."""
        return await self.ends(topic)

    async def close(self) -> None:
        """See the port."""
        await self._bus.close()

    def records(self, topic: str = "webhook.messages") -> list[Record]:
        """Everything published so far, in order, by this and other processes."""
        files = sorted((self._path / "bus" / f"recorded.{topic}").glob("*.jsonl"))
        return [_unpacked(line) for file in files for line in file.read_bytes().splitlines()]


def _packed(record: Record) -> bytes:
    origin = record.origin
    return json.dumps(
        {
            "value": base64.b64encode(record.value).decode(),
            "key": None if record.key is None else base64.b64encode(record.key).decode(),
            "headers": dict(record.headers),
            "origin": origin
            and [origin.door, origin.day, origin.line, origin.element, origin.received_at_ms],
        }
    ).encode()


def _unpacked(line: bytes) -> Record:
    found = json.loads(line)
    return Record(
        base64.b64decode(found["value"]),
        None if found["key"] is None else base64.b64decode(found["key"]),
        found["headers"],
        found["origin"] and Origin(*found["origin"]),
    )
