"""Topic `webhook.messages` on a real Kafka, written to and looked at by confluent-kafka: another client than ours."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from millrace_ports.bus.port import Origin
from millrace_testkit.model import Line, foreign_line
from millrace_testkit.stack import wait_until

from .kafka import TOPIC, Entry

_WITHIN_S = 30.0


class RealTopic:
    """The topic, made empty with so many partitions; or, `there`, as somebody else has made it."""

    def __init__(self, bootstrap: str, partitions: int, *, there: bool = False) -> None:
        self._common = {"bootstrap.servers": bootstrap, "log_level": 0}
        self._admin = AdminClient(self._common)
        self.partitions = partitions
        if not there:
            self.remove()
            self.make()

    def make(self) -> None:
        """Also when Kafka has not quite finished to remove the former one."""
        # Hand-made records are of a day long past: retention would take them.
        config = {"max.message.bytes": str(16 << 20), "retention.ms": "-1"}
        new = NewTopic(TOPIC, num_partitions=self.partitions, config=config)

        def made() -> bool:
            try:
                self._admin.create_topics([new])[TOPIC].result(_WITHIN_S)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
                return False
            return True

        wait_until(made, _WITHIN_S, f"topic {TOPIC} made")
        wait_until(lambda: self._leaders() == self.partitions, _WITHIN_S, f"leaders of {TOPIC}")
        self._producer = Producer(self._common | {"message.max.bytes": 16 << 20, "linger.ms": 5})

    def remove(self) -> None:
        """Nothing when it is not there."""
        with contextlib.suppress(KafkaException):
            self._admin.delete_topics([TOPIC])[TOPIC].result(_WITHIN_S)

    @property
    def id(self) -> str:
        """Its id, as it stands in names of partitions."""
        described = self._admin.describe_topics(_collection())[TOPIC].result(_WITHIN_S)
        return str(described.topic_id).replace("/", "_").replace("+", "-")

    def publish(self, entries: Iterable[Entry], *, partition: int | None = None, keyed: bool = False) -> None:
        """Returns when Kafka has them. Without a partition Kafka's own client chooses it: by key, or at random."""
        for place, (value, origin, at_ms) in enumerate(entries):
            headers = [] if origin is None else [("millrace-origin", header(origin))]
            where = {} if partition is None else {"partition": partition}
            key = f"key-{place % 97}".encode() if keyed else None
            while True:
                try:
                    self._producer.produce(TOPIC, value, key, timestamp=at_ms, headers=headers, **where)
                    break
                except BufferError:
                    self._producer.poll(0.1)
        assert self._producer.flush(_WITHIN_S) == 0

    def tombstone(self, partition: int) -> None:
        """A record without a value."""
        self._producer.produce(TOPIC, None, b"key", partition=partition)
        assert self._producer.flush(_WITHIN_S) == 0

    def expire(self, partition: int, first: int) -> None:
        """Retention has removed all records of the partition before number `first`."""
        gone = [TopicPartition(TOPIC, partition, first - 1)]
        for done in self._admin.delete_records(gone).values():
            done.result(_WITHIN_S)

    def ends(self) -> dict[str, int]:
        """Name of each partition that has records -> number of its last one."""
        consumer = Consumer(self._common | {"group.id": "looking"})
        try:
            topic_id = self.id
            found = {}
            for number in range(self.partitions):
                _, high = consumer.get_watermark_offsets(TopicPartition(TOPIC, number), _WITHIN_S)
                found[f"{topic_id}/{number}"] = high
        finally:
            consumer.close()
        return {name: end for name, end in found.items() if end}

    def foreign_lines(self, *forged: bytes) -> list[Line]:
        """The records without an origin as the model wants them; of tombstones nothing.

        A record whose header is one of `forged` has none either.
        """
        return [
            foreign_line(TOPIC, topic_id, partition, offset, at_ms, value)
            for topic_id, partition, offset, at_ms, value, where in self._records()
            if (where is None or where in forged) and value is not None
        ]

    def _records(self) -> Iterator[tuple[str, int, int, int, bytes | None, bytes | None]]:
        topic_id, left = self.id, self.ends()
        consumer = Consumer(self._common | {"group.id": "looking", "enable.auto.commit": False})
        consumer.assign([TopicPartition(TOPIC, number, 0) for number in range(self.partitions)])
        end = time.monotonic() + _WITHIN_S
        try:
            while left:
                assert time.monotonic() < end, f"not read: {left}"
                message = consumer.poll(1.0)
                if message is None or message.error():
                    continue
                number, offset = message.partition(), message.offset()
                where = dict(message.headers() or []).get("millrace-origin")
                yield topic_id, number, offset, message.timestamp()[1], message.value(), where
                if left.get(f"{topic_id}/{number}") == offset + 1:
                    del left[f"{topic_id}/{number}"]
        finally:
            consumer.close()

    def _leaders(self) -> int:
        found = self._admin.list_topics(TOPIC, timeout=_WITHIN_S).topics[TOPIC].partitions
        return sum(partition.leader >= 0 for partition in found.values())

    def landed(self, data: Path) -> bool:
        """Whether the lake stands at the end of every partition."""
        return not self.left(data)

    def left(self, data: Path) -> dict[str, str]:
        """Partitions with records that the lake does not hold, and how many it holds."""
        try:
            table = DeltaTable(str(data / "parquet" / "messages"))
        except (FileNotFoundError, DeltaError) as error:
            return {"messages": str(error)}
        ends = self.ends()
        positions = {name: table.transaction_version(f"lake/{name}") or 0 for name in ends}
        return {name: f"{positions[name]} of {end}" for name, end in ends.items() if positions[name] != end}

    def wait_landed(self, data: Path, within_s: float = 90.0) -> None:
        """Returns when the lake stands at the end of every partition."""
        try:
            wait_until(lambda: self.landed(data), within_s, "every record in the lake")
        except AssertionError as error:
            raise AssertionError(f"{error}; left: {self.left(data)}") from None


def header(origin: Origin) -> bytes:
    """`door/day/line/element/received_at_ms`."""
    return f"{origin.door}/{origin.day}/{origin.line}/{origin.element}/{origin.received_at_ms}".encode()


def _collection() -> object:
    from confluent_kafka import TopicCollection

    return TopicCollection([TOPIC])
