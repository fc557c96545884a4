"""land-kafka: how many messages a second lake writers land from Kafka exactly once, and in how much memory."""

import json
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from tests.bench.kafka_topic import fill, made
from tests.bench.payloads import messages
from tests.bench.processes import Running, measured, running, tail
from tests.bench.report import Alternative, BenchmarkError, Result, Target
from tests.bench.stored import rows_of
from tests.bench.workbench import Workbench

from ingest_service.land.settings import LakeWriterSettings
from millrace_testkit.real import BackendMissingError, RealStack

DAYS = 30
LOOP_NAME = "aiokafka + json.loads + write_deltalake, no dedup"
TOPIC = "webhook.messages"
_DONE_WITHIN_S = 600
_LOOK_EVERY_S = 0.5


def run(bench: Workbench) -> list[Result]:
    """The same records by one writer, by two that share the partitions, and by the plain loop."""
    count = _messages()
    with RealStack() as stack:
        bench.say("starting Kafka")
        try:
            stack.start("kafka")
        except BackendMissingError as error:
            raise BenchmarkError(str(error)) from error
        made(stack.kafka, TOPIC)
        bench.say(f"producing {count:,} messages")
        size = fill(stack.kafka, TOPIC, messages(count, days=DAYS)) / count
        bench.say("one lake writer")
        [one] = _landed(bench.scratch / "one", stack.kafka, count, 1)
        bench.say("two lake writers")
        two = _landed(bench.scratch / "two", stack.kafka, count, 2)
        bench.say("the plain loop")
        loop = [
            "-m",
            "tests.bench.land_kafka_loop",
            stack.kafka,
            TOPIC,
            str(bench.scratch / "loop"),
            str(count),
        ]
        theirs = measured([*loop, str(_batch_rows())])
    if theirs["rows"] != count:
        raise BenchmarkError(f"the plain loop landed {theirs['rows']} rows")
    per_s = Alternative(LOOP_NAME, count / theirs["seconds"])
    peak = Alternative(LOOP_NAME, theirs["peak_mb"])
    together_s = max(found["ended"] for found in two) - min(found["began"] for found in two)
    return [
        Result("messages_per_s", count / (one["ended"] - one["began"]), "1/s", Target(">=", 60_000), per_s),
        Result("peak_mb", one["peak_mb"], "MB", None, peak),
        Result("cpu_us_per_message", one["cpu_s"] * 1e6 / count, "µs"),
        Result("messages_per_s_two_writers", count / together_s, "1/s", None, per_s),
        Result("peak_mb_two_writers", max(found["peak_mb"] for found in two), "MB", None, peak),
        Result("bytes_per_message", size, "bytes"),
    ]


def _landed(data: Path, bootstrap: str, count: int, writers: int) -> list[dict[str, Any]]:
    """What each of the writers has to say, when together they have landed everything."""
    logs = [data / f"writer-{number}.log" for number in range(writers)]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(running(["-m", "tests.bench.land_kafka_writer", str(data), bootstrap], log))
            for log in logs
        ]
        _wait_for_rows(data, count, processes)
    stored, distinct = rows_of(DeltaTable(str(data / "parquet" / "messages")))
    if not stored == distinct == count:
        raise BenchmarkError(f"{stored} rows, {distinct} of them distinct, of {count}")
    return [json.loads(log.read_bytes().splitlines()[-1]) for log in logs]


def _wait_for_rows(data: Path, count: int, processes: list[Running]) -> None:
    """Returns when the table has `count` rows, as its log says."""
    deadline = time.monotonic() + _DONE_WITHIN_S
    table = str(data / "parquet" / "messages")
    while not DeltaTable.is_deltatable(table) or DeltaTable(table).count() < count:
        for process in processes:
            process.check()
        if time.monotonic() > deadline:
            raise BenchmarkError(f"not landed in {_DONE_WITHIN_S} s:\n{tail(processes[0].log)}")
        time.sleep(_LOOK_EVERY_S)


def _messages() -> int:
    """BENCH_MESSAGES, a million if it is not set."""
    text = os.environ.get("BENCH_MESSAGES", "1000000")
    if not text.isdecimal() or int(text) < 1_000:
        raise BenchmarkError(f"BENCH_MESSAGES must be a whole number of 1000 or more, not {text!r}")
    return int(text)


def _batch_rows() -> int:
    default: int = LakeWriterSettings.model_fields["land_max_rows"].default
    return default
