"""A topic made as Millrace makes it, and filled by a producer that is not Millrace."""

import asyncio
import time
from collections.abc import Iterable

from confluent_kafka import Producer
from tests.bench.report import BenchmarkError

from ingest_service.land.messages import decode_ordinary
from millrace_ports.bus import open_bus
from millrace_schemas.topics import load

_FLUSHED_WITHIN_S = 120


def made(bootstrap: str, *topics: str) -> None:
    """The topics are there when this returns, with the settings of their YAML."""
    asyncio.run(_made(bootstrap, topics))


async def _made(bootstrap: str, topics: Iterable[str]) -> None:
    bus = open_bus(f"kafka://{bootstrap}", now_ms=lambda: time.time_ns() // 1_000_000)
    await bus.ensure_topics([load(topic) for topic in topics])
    await bus.close()


def fill(bootstrap: str, topic: str, bodies: Iterable[bytes]) -> int:
    """Produces ordinary messages, keyed by msg_id; their bytes together, when all are acknowledged."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 20,
            "batch.size": 1 << 20,
            "log_level": 3,  # a broker that is just starting is worth a warning to it
        }
    )
    size = 0
    for body in bodies:
        key = decode_ordinary(body).data.msg_id
        while True:
            try:
                producer.produce(topic, body, key)
                break
            except BufferError:
                producer.poll(0.1)
        size += len(body)
    if left := producer.flush(_FLUSHED_WITHIN_S):
        raise BenchmarkError(f"{left} records are not acknowledged")
    return size
