"""The bus on a real Kafka keeps the contract."""

from collections.abc import Callable

import pytest

from millrace_ports.bus.kafka.bus import KafkaBus
from millrace_testkit.contracts.bus import BusContract

from .conftest import topic_of

pytestmark = pytest.mark.real


class TestKafkaBus(BusContract):
    @pytest.fixture
    def topic(self, prefix: str) -> str:
        return f"{prefix}topic"

    @pytest.fixture
    def other_topic(self, prefix: str) -> str:
        return f"{prefix}other"

    @pytest.fixture
    async def bus(self, open_kafka: Callable[..., KafkaBus], topic: str, other_topic: str) -> KafkaBus:
        bus = open_kafka()
        await bus.ensure_topics([topic_of(topic), topic_of(other_topic)])
        return bus
