"""The embedded bus: day journals are its partitions, a data directory is all it needs."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from millrace_ports.bus.embedded_consumer import EmbeddedConsumer
from millrace_ports.bus.joined import JoinedConsumer
from millrace_ports.bus.names import checked_name
from millrace_ports.bus.port import TRACEPARENT, Consumer, Partition, Positions, Record
from millrace_ports.errors import ClosedError, ConfigurationError, InvalidRecordError
from millrace_ports.journal import GroupCommitter, JournalRoot, JournalWriter
from millrace_schemas.topics import Topic

WEBHOOK_MESSAGES = "webhook.messages"
FORMER = Path("messages", "former")
"""Below the data directory: journals of doors that take nothing more, each directory named after its door."""


def journal_path(url: str) -> Path:
    """Data directory that a `journal:PATH` URL names. Raises ConfigurationError that names `MILLRACE_BUS`."""
    scheme, _, rest = url.partition(":")
    if not url:
        raise ConfigurationError(
            "MILLRACE_BUS is not set; expected journal:PATH, for instance journal:/var/lib/millrace"
        )
    if scheme != "journal":
        raise ConfigurationError(f"MILLRACE_BUS: unknown kind {scheme!r}; expected journal:PATH")
    path = Path(rest).expanduser()
    if not path.is_absolute():
        raise ConfigurationError(
            f"MILLRACE_BUS: {rest!r} is not an absolute path; expected journal:/absolute/path"
        )
    return path


def topic_root(data: Path, topic: str) -> JournalRoot:
    """Where the journals of `topic` lie below the data directory. Raises ConfigurationError (bad name)."""
    if topic == WEBHOOK_MESSAGES:
        return JournalRoot(data / "messages" / "raw")
    return JournalRoot(data / "bus" / checked_name(topic))


def former_roots(data: Path) -> list[JournalRoot]:
    """Journals that were restored from a backup, or laid aside: lines keep the door under which they came in.

    Raises OSError.
    """
    try:
        found = [JournalRoot(path, door=path.name) for path in (data / FORMER).iterdir() if path.is_dir()]
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda root: root.door)


def journal_of(data: Path, partition: Partition) -> Path:
    """The journal that is this partition of `webhook.messages`, whether it is there or not."""
    door, _, day = partition.name.rpartition("/")
    former = JournalRoot(data / FORMER / door)
    return (former if former.path.is_dir() else topic_root(data, WEBHOOK_MESSAGES)).file(day)


class EmbeddedBus:
    """`millrace_ports.bus.port.Bus` on a directory; any number of processes of one host may share it."""

    def __init__(self, data: Path, *, now_ms: Callable[[], int]) -> None:
        self._data = data
        self._now_ms = now_ms
        self._committers: dict[str, GroupCommitter] = {}
        self._consumers: list[Consumer] = []
        self._closed = False

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        """See the port. A topic is a directory, made with its first record."""

    async def publish(self, topic: str, records: Sequence[Record]) -> None:
        """See the port. Keys and other headers than TRACEPARENT are not kept: a topic has one order here."""
        if self._closed:
            raise ClosedError("the bus is closed")
        values = [record.value for record in records]
        for index, value in enumerate(values):
            if b"\n" in value:
                raise InvalidRecordError(index, "a record holds no line feed")
        if values:
            await self._committer(topic).append_all(values, _traceparents(records))

    def consumer(self, topic: str, group: str, positions: Positions, *, traced: bool = False) -> Consumer:
        """See the port; progress is reported to `metadata/offsets/<group>/<topic>.json`, of a former door to
        `<topic>@<door>.json`. Former doors are those that are there now."""
        if self._closed:
            raise ClosedError("the bus is closed")
        reports = self._data / "metadata" / "offsets" / checked_name(group)
        current = topic_root(self._data, topic)
        consumer: Consumer = self._reader(current, topic, positions, reports / topic, traced=traced)
        if topic == WEBHOOK_MESSAGES and (roots := former_roots(self._data)):
            former = {
                root.door: self._reader(
                    root, topic, positions, reports / f"{topic}@{root.door}", traced=traced
                )
                for root in roots
            }
            consumer = JoinedConsumer(consumer, former)
        self._consumers.append(consumer)
        return consumer

    def _reader(
        self, root: JournalRoot, topic: str, positions: Positions, report: Path, *, traced: bool
    ) -> EmbeddedConsumer:
        path = report.with_name(f"{report.name}.json")
        return EmbeddedConsumer(root, topic, positions, report_path=path, now_ms=self._now_ms, traced=traced)

    async def close(self) -> None:
        """See the port."""
        self._closed = True
        await asyncio.gather(
            *(consumer.close() for consumer in self._consumers),
            *(committer.close() for committer in self._committers.values()),
        )

    def _committer(self, topic: str) -> GroupCommitter:
        if topic not in self._committers:
            writer = JournalWriter(topic_root(self._data, topic), now_ms=self._now_ms)
            self._committers[topic] = GroupCommitter(writer, name=f"bus-{topic}")
        return self._committers[topic]


def _traceparents(records: Sequence[Record]) -> dict[int, str]:
    return {
        index: record.headers[TRACEPARENT]
        for index, record in enumerate(records)
        if TRACEPARENT in record.headers
    }
