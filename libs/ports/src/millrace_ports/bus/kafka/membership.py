"""Becoming a member of a consumer group, and ceasing to be one, whatever state the driver is in."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition

from millrace_ports.bus.kafka.ending import start, stop_consumer
from millrace_ports.bus.kafka.settings import KafkaSettings
from millrace_ports.bus.kafka.translate import kafka_errors

_METADATA_MS = 10_000
"""A broker that has just started may not know its topics yet; a member that asks it then has no partitions
until it asks again."""

_REQUEST_MS = 15_000
_JOINED_WITHIN_S = 60.0
_FETCH_BYTES = 16 << 20
_PARTITION_FETCH_BYTES = 2 << 20  # a larger record is sent all the same


class Member(ConsumerRebalanceListener):  # type: ignore[misc]
    """One membership. `changed` is told the partitions assigned from now on: none when they are taken away.

    A partition that is newly assigned stands still until its owner has said where to begin: aiokafka would begin
    at the group's offsets.
    """

    def __init__(
        self, topic: str, group: str, settings: KafkaSettings, changed: Callable[[set[TopicPartition]], None]
    ):
        self._changed: Callable[[set[TopicPartition]], None] | None = changed
        self._topic, self._group = topic, group
        session_ms = round(settings.options.session_timeout_s * 1000)
        self.driver: Any = AIOKafkaConsumer(
            bootstrap_servers=settings.bootstrap,
            client_id="millrace",
            group_id=group,
            auto_offset_reset="none",
            enable_auto_commit=False,
            isolation_level="read_committed",
            fetch_max_bytes=_FETCH_BYTES,
            max_partition_fetch_bytes=_PARTITION_FETCH_BYTES,
            metadata_max_age_ms=_METADATA_MS,
            request_timeout_ms=max(_REQUEST_MS, session_ms + 5_000),  # joining may take a session
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=session_ms // 10,  # how soon it hears of another member
            **settings.aiokafka(),
        )

    async def join(self) -> None:
        """Return when partitions are assigned. Raises ConfigurationError, StorageUnavailableError."""
        self.driver.subscribe([self._topic], listener=self)
        try:
            with kafka_errors(f"read topic {self._topic} as group {self._group}"):
                async with asyncio.timeout(_JOINED_WITHIN_S):
                    await start(self.driver)
        except BaseException:
            await self.leave()
            raise

    async def leave(self) -> None:
        """Give the partitions back and release everything, within some seconds also when Kafka is away."""
        self._changed = None
        await stop_consumer(self.driver)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """aiokafka takes all of them away before each assignment."""
        if self._changed is not None:
            self._changed(set())

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """All that this member has from now on."""
        assigned = set(assigned)
        for partition in assigned:
            self.driver.seek(partition, 0)
            self.driver.pause(partition)
        if self._changed is not None:
            self._changed(assigned)
