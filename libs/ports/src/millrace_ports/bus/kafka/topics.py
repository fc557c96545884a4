"""Topics are made from their YAML by this module alone, never by the broker."""

import asyncio
import time
from collections.abc import Iterable

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import NewTopic

from millrace_ports.bus.kafka.admin import KafkaAdmin, TopicState
from millrace_ports.bus.kafka.settings import MAX_RECORD_BYTES, KafkaOptions
from millrace_ports.bus.kafka.translate import kafka_errors
from millrace_ports.errors import ConfigurationError, StorageUnavailableError, TopicMissingError
from millrace_schemas.topics import Topic

_BUCKETS = 16
"""Keys of the lake are spread over so many buckets: a partition count that divides it keeps a key's records of
one bucket in one partition."""

_REFUSED = (KafkaError.INVALID_CONFIG, KafkaError.POLICY_VIOLATION, KafkaError.TOPIC_EXCEPTION)

_DAY_MS = 86_400_000
_REQUEST_S = 15.0
_KNOWN_WITHIN_S = 15.0
_LOOK_EVERY_S = 0.1


async def ensure_topics(admin: KafkaAdmin, topics: Iterable[Topic], options: KafkaOptions) -> None:
    """Make the topics that are missing and return when every one is there.

    Several processes may do so at once. A topic that is there keeps its settings.
    Raises ConfigurationError that names the topic when its partitions are no divisor of 16 or other than those of
    the topic that is there, and when the broker refuses to make it; StorageUnavailableError.
    """
    topics = list(topics)
    for topic in topics:
        if topic.partitions < 1 or _BUCKETS % topic.partitions:
            raise ConfigurationError(
                f"topic {topic.name}: {topic.partitions} partitions; the number must divide {_BUCKETS}"
            )
    for topic in topics:
        try:
            state = await admin.topic(topic.name)
        except TopicMissingError:
            await _make(admin, topic, options)
            state = await _made(admin, topic.name)
        if state.partitions != topic.partitions:
            raise ConfigurationError(
                f"topic {topic.name} has {state.partitions} partitions at the broker that MILLRACE_BUS names, "
                f"and {topic.partitions} in its YAML; keys would change partition"
            )


async def _make(admin: KafkaAdmin, topic: Topic, options: KafkaOptions) -> None:
    replicas = options.replication_factor or min(3, await admin.brokers())
    new = NewTopic(
        topic.name,
        num_partitions=topic.partitions,
        replication_factor=replicas,
        config={
            "cleanup.policy": "delete",
            "max.message.bytes": str(MAX_RECORD_BYTES),
            "min.insync.replicas": str(
                max(1, replicas - 1)
            ),  # of three replicas one may be away, and two have it
            "retention.ms": str(topic.retention_days * _DAY_MS),
        },
    )
    client = await admin.client()
    with kafka_errors(f"make topic {topic.name}"):
        try:
            await asyncio.wrap_future(client.create_topics([new], request_timeout=_REQUEST_S)[topic.name])
        except KafkaException as error:
            refusal = error.args[0]
            if refusal.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                return  # another process was faster
            if refusal.code() == KafkaError.INVALID_REPLICATION_FACTOR:
                raise ConfigurationError(
                    f"MILLRACE_KAFKA_REPLICATION_FACTOR: topic {topic.name} cannot have {replicas} replicas: "
                    f"{refusal.str()}"
                ) from error
            if refusal.code() in _REFUSED:
                raise ConfigurationError(
                    f"MILLRACE_BUS: the broker refuses topic {topic.name}: {refusal.str()}"
                ) from error
            raise


async def _made(admin: KafkaAdmin, name: str) -> TopicState:
    """The new topic, when the brokers have heard of it."""
    deadline = time.monotonic() + _KNOWN_WITHIN_S
    while True:
        try:
            return await admin.topic(name)
        except TopicMissingError as error:
            if time.monotonic() > deadline:
                raise StorageUnavailableError(f"topic {name} was made and is still not there") from error
        await asyncio.sleep(_LOOK_EVERY_S)
