"""What only Kafka's administration knows: topic ids and partition counts."""

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from millrace_ports.bus.kafka.probe import probe
from millrace_ports.bus.kafka.settings import KafkaSettings
from millrace_ports.bus.kafka.translate import kafka_errors
from millrace_ports.bus.port import Partition
from millrace_ports.errors import StorageUnavailableError

_REQUEST_S = 5.0


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it is now. `id` is its identity, new when a topic of the same name is made again."""

    name: str
    id: str
    partitions: int

    def partition(self, number: int) -> Partition:
        """The port's name of partition `number`."""
        return Partition(self.name, f"{self.id}/{number}")


class KafkaAdmin:
    """Questions to the cluster, each answered within some seconds or ended by StorageUnavailableError.

    Its one client is made when it is first used. Nothing here blocks the event loop.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._client: AdminClient | None = None
        self._lock = asyncio.Lock()

    async def client(self) -> AdminClient:
        """The driver's client. Raises ConfigurationError that names a wrong setting, StorageUnavailableError."""
        async with self._lock:
            if self._client is None:
                await probe(self._settings)  # the client would only say that its time was over
                with kafka_errors("set up Kafka's administration"):
                    self._client = await asyncio.to_thread(AdminClient, self._settings.librdkafka())
        return self._client

    async def topic(self, name: str) -> TopicState:
        """The topic of that name. Raises TopicMissingError, ConfigurationError, StorageUnavailableError."""
        client = await self.client()
        with kafka_errors(f"look up topic {name}"):
            answers = client.describe_topics(TopicCollection([name]), request_timeout=_REQUEST_S)
            description = await asyncio.wrap_future(answers[name])
        return TopicState(name, _text(description.topic_id), len(description.partitions))

    async def ends(self, name: str) -> Mapping[Partition, int]:
        """Number of the last record of each partition. Raises as `topic`, also when it is made anew meanwhile."""
        topic, client = await self.topic(name), await self.client()
        asked = {TopicPartition(name, number): OffsetSpec.latest() for number in range(topic.partitions)}
        with kafka_errors(f"look up the end of topic {name}"):
            answers = client.list_offsets(asked, request_timeout=_REQUEST_S)
            found = await asyncio.gather(*map(asyncio.wrap_future, answers.values()))
        # Offsets are asked for by the topic's name: an id that is still there was there in between, for none returns.
        if (await self.topic(name)).id != topic.id:
            raise StorageUnavailableError(f"topic {name} was made anew while its end was looked up")
        return {
            topic.partition(place.partition): end.offset for place, end in zip(answers, found, strict=True)
        }

    async def brokers(self) -> int:
        """How many brokers there are. Raises StorageUnavailableError."""
        client = await self.client()
        with kafka_errors("count the brokers"):
            cluster = await asyncio.wrap_future(client.describe_cluster(request_timeout=_REQUEST_S))
        return len(cluster.nodes)

    async def close(self) -> None:
        """Release connections and threads."""
        async with self._lock:
            await asyncio.to_thread(self._release)

    def _release(self) -> None:
        self._client = None  # the driver joins its threads when the last reference goes


def _text(topic_id: Any) -> str:
    """As Kafka's own tools write it; the driver's own text may hold a slash."""
    whole = (topic_id.get_most_significant_bits() << 64) | (
        topic_id.get_least_significant_bits() & (1 << 64) - 1
    )
    return base64.urlsafe_b64encode((whole & (1 << 128) - 1).to_bytes(16)).decode().rstrip("=")
