"""The alternative relay: json.loads for the key, confluent-kafka's produce, no position and no origin.

`python -m tests.bench.relay_loop DATA BOOTSTRAP TOPIC` publishes the journals of DATA and prints JSON.
"""

import json
import sys
import time
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer
from tests.bench.machine import peak_mb

_failed: list[str] = []


def delivered(error: KafkaError | None, message: Message) -> None:
    """Told about each record; also when it cannot be delivered."""
    if error is not None:
        _failed.append(error.str())


def main() -> None:
    """Journal after journal; ends when the last record is acknowledged."""
    data, bootstrap, topic = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    started, used = time.perf_counter(), time.process_time()
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 20,
            "batch.size": 1 << 20,
        }
    )
    for journal in sorted((data / "messages" / "raw").glob("*.jsonl")):
        with journal.open("rb") as lines:
            for line in lines:
                body = line.rstrip(b"\n")
                key = json.loads(body)["data"]["msg_id"]
                while True:
                    try:
                        producer.produce(topic, body, key, on_delivery=delivered)
                    except BufferError:
                        producer.poll(0.1)
                    else:
                        break
                producer.poll(0)
    left = producer.flush(60)
    if left or _failed:
        sys.exit(f"{left} records not acknowledged, {len(_failed)} refused: {_failed[:1]}")
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - used
    print(json.dumps({"seconds": seconds, "cpu_s": cpu_s, "peak_mb": peak_mb()}))


if __name__ == "__main__":
    main()
