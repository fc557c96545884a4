"""Getting records onto the bus, whatever it takes: in order, large bodies aside, refused ones as dead letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ingest_service import envelopes
from ingest_service.land.refusal import Refused
from ingest_service.objects import Objects
from ingest_service.relay.observe import RelayObserver
from ingest_service.relay.persist import Persistence
from millrace_ports.bus.port import Origin, Partition, Record, ServerBus
from millrace_ports.errors import InvalidRecordError, PortError, TopicMissingError
from millrace_runtime.crash import crash_point
from millrace_runtime.logs import get_logger
from millrace_schemas import topics

log = get_logger(__name__)

TOPIC = "webhook.messages"


class _RefusedAgainError(PortError):
    """The bus refuses even what stands for a refused record. Something else is wrong: wait for it to be mended."""


class Publisher:
    """Publishes records that have an origin.

    Args:
        bus: where they go.
        objects: keeps bodies that are too large, and those of refused records.
        max_value_bytes: a longer value goes by reference.
    """

    def __init__(
        self,
        bus: ServerBus,
        objects: Objects,
        persistence: Persistence,
        observer: RelayObserver,
        *,
        max_value_bytes: int,
    ) -> None:
        self._bus = bus
        self._objects = objects
        self._persistence = persistence
        self._observer = observer
        self._max_value_bytes = max_value_bytes

    async def sendable(self, records: list[Record]) -> list[Record]:
        """`records`, each too large one replaced by a reference to its body, which is durable then."""
        if max((len(record.value) for record in records), default=0) <= self._max_value_bytes:
            return records
        return [
            record if len(record.value) <= self._max_value_bytes else await self._by_reference(record)
            for record in records
        ]

    async def publish(self, records: list[Record]) -> None:
        """Return when the bus holds all of them, in this order for each key.

        The topic is made, as its YAML says, when it is not there. A record that the bus refuses for good is
        replaced by one that makes a dead letter of it. Raises StoppedError and ClosedError: then any of the
        records may be on the bus.
        """
        refused: set[int] = set()
        while records:
            try:
                with self._observer.publish_seconds.time():
                    await self._persistence.until_done("publish", lambda: self._publish(records, refused))
            except InvalidRecordError as error:
                refused.add(error.index)
                records[error.index] = await self._refused(records[error.index], error)
            else:
                self._observer.published(records)
                return

    async def topic_id(self) -> str:
        """The id that the topic has, which is made when it is not there. Raises StoppedError and ClosedError."""
        return await self._persistence.until_done("publish", self._topic_id)

    async def ends(self) -> Mapping[Partition, int]:
        """The last record of each partition of the topic. Raises PortError."""
        return await self._bus.ends(TOPIC)

    async def _topic_id(self) -> str:
        try:
            return await self._bus.topic_id(TOPIC)
        except TopicMissingError:
            await self._make_topic()
            return await self._bus.topic_id(TOPIC)

    async def _make_topic(self) -> None:
        log.warning("topic_made", topic=TOPIC)
        await self._bus.ensure_topics([topics.load(TOPIC)])

    async def _publish(self, records: Sequence[Record], refused: set[int]) -> None:
        try:
            try:
                await self._bus.publish(TOPIC, records)
            except TopicMissingError:
                await self._make_topic()
                await self._bus.publish(TOPIC, records)
        except InvalidRecordError as error:
            if error.index in refused:
                raise _RefusedAgainError(str(error)) from error
            raise

    async def _by_reference(self, record: Record) -> Record:
        origin = await self._kept(record)
        crash_point("AFTER_BODY_BEFORE_REFERENCE")
        self._observer.large()
        return envelopes.reference(record, origin)

    async def _refused(self, record: Record, error: InvalidRecordError) -> Record:
        origin = await self._kept(record)
        log.error("record_refused", origin=str(origin), bytes=len(record.value), error=str(error))
        self._observer.refused()
        return envelopes.refused(record, origin, Refused("bus_error", "refused_by_bus", str(error)))

    async def _kept(self, record: Record) -> Origin:
        origin = record.origin
        if origin is None:
            raise ValueError("only records with an origin can be set aside")
        path = envelopes.object_path(origin)
        await self._persistence.until_done("store", lambda: self._objects.keep(path, record.value))
        return origin
