"""The bus: topics of partitions of numbered records, read by consumers that keep their own positions.

What every adapter promises, and `millrace_testkit.contracts.bus` tests:

* `publish` returns when all of its records are durable; records of one call keep their order within a
  partition, and records of one key always go to one partition.
* The records of a partition are numbered from 1 upwards in the order in which they became durable. A number
  never names another record later, unless the partition was replaced, which `Positions.truncated` reports.
* A consumer delivers every record of every partition at least once from the position that its owner names.
  The bus stores positions only as a report for people and lag: the owner is the authority.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import msgspec

from millrace_schemas.topics import Topic

ENVELOPE = "application/vnd.millrace.envelope"
"""Value of the header `content-type` of a record that is an encoded Envelope."""

TRACEPARENT = "traceparent"
"""Header with the W3C trace context of a record whose way is followed."""


@dataclass(frozen=True, slots=True)
class Partition:
    """One ordered run of records. Embedded: `name` is `<door>/<YYYY-MM-DD>`, one day journal; Kafka:
    `<topic id>/<partition number>`, so that a recreated topic has other partitions."""

    topic: str
    name: str


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where a relayed record was durable first: line `line` of the journal of `day` at `door`.

    `day` is `YYYY-MM-DD`, and `YYYY-MM-DD#<epoch>` for a journal that was replaced by one with fewer lines:
    `epoch` counts how often, so that its line 7 is not taken for the old line 7.
    `element` is the place of a record's part in a line that was split (`LAKE-20`), as in `src_element` of the
    rows; `received_at_ms` is when the door had the line. A relay that repeats a record repeats its origin.
    """

    door: str
    day: str
    line: int
    element: int
    received_at_ms: int


class Record(msgspec.Struct, frozen=True, gc=False):
    """What is published: one line of text (no line feed), as a rule a JSON object.

    `key` keeps records of one entity in order; the embedded bus keeps a whole topic in order and stores neither key
    nor origin, and of the headers `TRACEPARENT` alone: there the record itself becomes a journal line. On Kafka a
    record whose header `content-type` is `ENVELOPE` is an encoded Envelope and may hold any byte.
    """

    value: bytes
    key: bytes | None = None
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive records of one partition.

    `start` is the position before the first record (the number of the last one consumed, 0 = none), `end` the
    position after the last. The three sequences have one entry per record: its value, its number and the Unix
    milliseconds at which it became durable, never falling while a consumer reads on. In a journal a number is a
    physical line and a blank line is a record of value `b""` (`LAKE-33`). `origins` has one entry per record,
    None for a record that no relay published; it is None itself where no record has an origin.

    `tombstones` has the numbers of records that have no value at all, as Kafka allows and nobody here means: bad
    input, unlike a blank line, though its entry in `values` is `b""` as well. Never any in a journal.

    `traceparents` has the headers `TRACEPARENT` of the records that have one, by number, as whoever published them
    wrote them; None for a consumer that was not asked for them, and they may be lost in a crash.
    """

    partition: Partition
    start: int
    end: int
    values: Sequence[bytes]
    offsets: Sequence[int]
    received_at_ms: Sequence[int]
    origins: Sequence[Origin | None] | None = None
    tombstones: frozenset[int] = frozenset()
    traceparents: Mapping[int, str] | None = None


class Positions(Protocol):
    """Owner of a consumer's positions, for instance the lake table that its rows go to."""

    async def start(self, partition: Partition) -> int:
        """Number of the last record consumed, 0 when none."""
        ...

    async def truncated(self, partition: Partition, position: int, available: int) -> int:
        """The partition was replaced or has only `available` records, fewer than `position`.

        Returns the position to go on from, at most `available`.
        """
        ...


class Consumer(Protocol):
    """Reader of all partitions of a topic. One task at a time may call `poll`."""

    async def poll(self, *, max_records: int, max_bytes: int, timeout_s: float) -> list[Chunk]:
        """Next records, oldest partition first, or [] when none came within `timeout_s` seconds.

        At most `max_records` records and `max_bytes` bytes of values in all, except that a single record
        larger than `max_bytes` is delivered alone. Cancelling a poll loses nothing.
        Raises StorageUnavailableError (retryable), RecordsLostError (for good).
        """
        ...

    async def ensure_durable(self, chunks: Sequence[Chunk]) -> None:
        """Return when the records of `chunks` cannot be lost; call before storing a position past them.

        Raises StorageUnavailableError: then drop the chunks and `reset` their partitions.
        """
        ...

    async def reset(self, partition: Partition) -> None:
        """Forget where this consumer is in `partition`; the next poll asks `Positions.start` again."""
        ...

    async def report(self, positions: Mapping[Partition, int]) -> None:
        """Show the group's progress to others. A report, not the authority; written whole or not at all."""
        ...

    async def lag(self) -> Mapping[Partition, int]:
        """Records not yet delivered, by partition; partitions that are read to the end may be missing."""
        ...

    async def close(self) -> None:
        """Release files and threads. A poll under way ends with ClosedError."""
        ...


class Bus(Protocol):
    """Where records are published and consumers are made."""

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        """Make those of the topics that are missing, as their YAML says; called on purpose, by whoever sets up.

        Raises ConfigurationError that names the topic, StorageUnavailableError.
        """
        ...

    async def publish(self, topic: str, records: Sequence[Record]) -> None:
        """Durable when it returns; all or, on an error, any of the records may be stored (repeats are safe).

        Raises InvalidRecordError (the record at its index can never be written) and StorageUnavailableError
        (try again).
        """
        ...

    def consumer(self, topic: str, group: str, positions: Positions, *, traced: bool = False) -> Consumer:
        """A reader of `topic` for `group`, which starts where `positions` says.

        `traced`: its chunks have `traceparents`.
        """
        ...

    async def close(self) -> None:
        """Close all consumers and writers; what was accepted is written first."""
        ...


@runtime_checkable
class ServerBus(Bus, Protocol):
    """A bus with a server of its own, which knows more of its partitions than their readers have told us."""

    async def topic_id(self, topic: str) -> str:
        """What the names of its partitions begin with, before the slash: another one when it is made anew.

        Raises TopicMissingError, ConfigurationError, StorageUnavailableError.
        """
        ...

    async def ends(self, topic: str) -> Mapping[Partition, int]:
        """Number of the last record of every partition, 0 for none; whatever is durable before the call counts.

        All are of one and the same topic: one that is made anew meanwhile ends the call.
        Raises TopicMissingError, ConfigurationError, StorageUnavailableError.
        """
        ...

    async def group_lag(self, topic: str, group: str) -> Mapping[Partition, int]:
        """Records of every partition past what `group` has reported, whoever reads it; all where it reported none.

        Raises TopicMissingError, ConfigurationError, StorageUnavailableError.
        """
        ...
