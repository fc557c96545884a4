"""How far a consumer group has come, asked without joining it.

By aiokafka: librdkafka's own question for a group's offsets ends the process while the group has no coordinator yet.
"""

import asyncio
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from millrace_ports.bus.kafka.admin import TopicState
from millrace_ports.bus.kafka.ending import start, stop_consumer
from millrace_ports.bus.kafka.settings import KafkaSettings
from millrace_ports.bus.kafka.translate import kafka_errors
from millrace_ports.bus.port import Partition

_ANSWERED_WITHIN_S = 10.0


async def group_lag(settings: KafkaSettings, topic: TopicState, group: str) -> Mapping[Partition, int]:
    """Records of every partition of `topic` past what `group` has reported, all where it reported nothing.

    Raises ConfigurationError, StorageUnavailableError.
    """
    numbers = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
    reader = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap,
        client_id="millrace",
        group_id=group,
        enable_auto_commit=False,
        isolation_level="read_committed",
        **settings.aiokafka(),
    )
    reader.assign(numbers)  # by hand: the group's members keep what they have
    try:
        with kafka_errors(f"look up the progress of group {group} in topic {topic.name}"):
            async with asyncio.timeout(_ANSWERED_WITHIN_S):
                await start(reader)
                first, end = await reader.beginning_offsets(numbers), await reader.end_offsets(numbers)
                reported = dict(
                    zip(numbers, await asyncio.gather(*map(reader.committed, numbers)), strict=True)
                )
    finally:
        await stop_consumer(reader)
    return {
        topic.partition(each.partition): max(0, end[each] - max(first[each], reported[each] or 0))
        for each in numbers
    }
