"""The alternative lake writer over Kafka: aiokafka, json.loads, write_deltalake; it remembers and checks nothing.

`python -m tests.bench.land_kafka_loop BOOTSTRAP TOPIC TABLE MESSAGES BATCH_ROWS` prints JSON.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import pyarrow as pa
from aiokafka import AIOKafkaConsumer, TopicPartition
from deltalake import WriterProperties, write_deltalake
from tests.bench.land_loop import Row, row
from tests.bench.machine import peak_mb


def append(table: Path, rows: list[Row]) -> None:
    """One commit."""
    write_deltalake(
        str(table),
        pa.Table.from_pylist(rows),
        mode="append",
        partition_by=["year", "month", "day"],
        writer_properties=WriterProperties(compression="SNAPPY"),
    )


async def main() -> None:
    """Every partition from its beginning, one append a batch."""
    bootstrap, topic, table, messages, batch_rows = sys.argv[1:]
    started = time.perf_counter()
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    partitions = [TopicPartition(topic, number) for number in await _partitions(consumer, topic)]
    consumer.assign(partitions)
    count, batch = 0, list[Row]()
    while count + len(batch) < int(messages):
        for records in (await consumer.getmany(timeout_ms=200, max_records=int(batch_rows))).values():
            batch += [row(record.value) for record in records]
        if len(batch) >= int(batch_rows):
            await asyncio.to_thread(append, Path(table), batch)
            count, batch = count + len(batch), []
    if batch:
        append(Path(table), batch)
    seconds = time.perf_counter() - started
    await consumer.stop()
    print(json.dumps({"rows": count + len(batch), "seconds": seconds, "peak_mb": peak_mb()}))


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[int]:
    while not (found := consumer.partitions_for_topic(topic)):
        await consumer._client.force_metadata_update()
        consumer._client.add_topic(topic)
    return sorted(found)


if __name__ == "__main__":
    asyncio.run(main())
