"""relay: how many messages a second the relay brings from the journals to Kafka, acknowledged and remembered."""

import asyncio
import dataclasses
import time

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from tests.bench.payloads import FIRST_DAY, messages, write_lines
from tests.bench.processes import measured
from tests.bench.report import Alternative, BenchmarkError, Result, Target
from tests.bench.workbench import Workbench

from ingest_service.relay.publish import TOPIC
from millrace_ports.bus import open_bus
from millrace_schemas.topics import load
from millrace_testkit.real import BackendMissingError, RealStack

MESSAGES = 1_000_000
LOOP_TOPIC = "bench.relay-loop"
LOOP_NAME = "json.loads + confluent-kafka produce"


def run(bench: Workbench) -> list[Result]:
    """A day's journal to a topic of 16 partitions; the same journal by the plain loop."""
    data = bench.scratch / "data"
    bench.say(f"writing {MESSAGES:,} payloads")
    write_lines(data / "messages" / "raw" / f"{FIRST_DAY}.jsonl", messages(MESSAGES))
    size = sum(file.stat().st_size for file in (data / "messages" / "raw").glob("*.jsonl")) / MESSAGES
    bench.say("starting Kafka")
    with RealStack() as stack:
        try:
            stack.start("kafka")
        except BackendMissingError as error:
            raise BenchmarkError(str(error)) from error
        asyncio.run(_make_topics(stack.kafka))
        bench.say("the relay")
        ours = measured(["-m", "tests.bench.relay_run", str(data), stack.kafka, str(MESSAGES)])
        bench.say("the plain loop")
        theirs = measured(["-m", "tests.bench.relay_loop", str(data), stack.kafka, LOOP_TOPIC])
        for topic in (TOPIC, LOOP_TOPIC):
            if (found := _held(stack.kafka, topic)) != MESSAGES:
                raise BenchmarkError(f"topic {topic} holds {found} records")
    per_s = Alternative(LOOP_NAME, MESSAGES / theirs["seconds"])
    return [
        Result("messages_per_s", MESSAGES / ours["seconds"], "1/s", Target(">=", 80_000), per_s),
        Result("bytes_per_message", size, "bytes"),
        Result(
            "cpu_us_per_message",
            ours["cpu_s"] * 1e6 / MESSAGES,
            "µs",
            None,
            Alternative(LOOP_NAME, theirs["cpu_s"] * 1e6 / MESSAGES),
        ),
        Result("peak_mb", ours["peak_mb"], "MB", None, Alternative(LOOP_NAME, theirs["peak_mb"])),
    ]


async def _make_topics(bootstrap: str) -> None:
    messages_topic = load(TOPIC)
    bus = open_bus(f"kafka://{bootstrap}", now_ms=_now_ms)
    await bus.ensure_topics([messages_topic, dataclasses.replace(messages_topic, name=LOOP_TOPIC)])
    await bus.close()


def _held(bootstrap: str, topic: str) -> int:
    """Records of a topic."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    partitions = [TopicPartition(topic, number) for number in range(load(TOPIC).partitions)]
    ends = admin.list_offsets(dict.fromkeys(partitions, OffsetSpec.latest()))
    return sum(end.result(30).offset for end in ends.values())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
