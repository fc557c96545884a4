"""fresh-real: how long after its 200 a message is found by a query, through door, relay, Kafka, writer and query."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow.parquet as pq
from tests.bench.fresh import PER_SECOND, SECONDS, WARM_UP_S, Times, poll_while_loading
from tests.bench.installation import Up, wait_for_count
from tests.bench.payloads import FIRST_DAY, FIRST_ID, messages, write_lines
from tests.bench.processes import Running, running, wait_until_ready
from tests.bench.report import BenchmarkError, Result, Target
from tests.bench.workbench import Workbench

from millrace.installation import PORTS
from millrace_runtime.service import PROCESS_PORTS
from millrace_testkit.ports import free_offset
from millrace_testkit.real import BackendMissingError, RealStack


def run(bench: Workbench) -> list[Result]:
    """Five processes and a broker under a steady load, counted over and over by a query that reads the rows."""
    bodies = bench.scratch / "bodies.jsonl"
    answers = bench.scratch / "answers"
    data = bench.scratch / "data"
    write_lines(bodies, messages(PER_SECOND * SECONDS))
    with RealStack() as stack:
        bench.say("starting Kafka and the processes")
        try:
            stack.start("kafka")
        except BackendMissingError as error:
            raise BenchmarkError(str(error)) from error
        with _installed(data, stack.kafka) as installed, installed.client() as client:
            bench.say(f"{PER_SECOND} messages a second for {SECONDS} s")
            polls = poll_while_loading(installed, client, bodies, answers)
            wait_for_count(installed, client, FIRST_DAY, PER_SECOND * SECONDS)
            polls.append((time.monotonic_ns(), PER_SECOND * SECONDS))
    numbers, accepted_ns = np.fromfile(answers, np.int64).reshape(2, -1)
    visible_ns = _visible_ns(data / "parquet" / "messages", np.array(polls, np.int64))
    if len(numbers) != len(visible_ns):
        raise BenchmarkError(f"{len(numbers)} messages accepted, {len(visible_ns)} queryable")
    delays_ms = (visible_ns[numbers] - accepted_ns) / 1e6
    steady = delays_ms[accepted_ns > accepted_ns.min() + WARM_UP_S * 10**9]
    return [
        Result("p50_ms", float(np.percentile(steady, 50)), "ms"),
        Result("p99_ms", float(np.percentile(steady, 99)), "ms", Target("<=", 1_500)),
        Result("max_ms", float(delays_ms.max()), "ms"),
        Result("accepted_per_s", len(numbers) / (float(np.ptp(accepted_ns)) / 1e9), "1/s"),
        Result("poll_every_ms", float(np.median(np.diff([at for at, _ in polls]) / 1e6)), "ms"),
    ]


@contextmanager
def _installed(data: Path, bootstrap: str) -> Iterator[Up]:
    """Door, relay, lake writer, query-service and auth-service, each a process as deployed, all ready."""
    data.mkdir()
    offset = free_offset()
    bus, objects = f"kafka://{bootstrap}", f"file://{data.absolute() / 'objects'}"
    auth_url = f"127.0.0.1:{PORTS['auth-service'].grpc + offset}"
    auth = {
        "MILLRACE_HOST": "127.0.0.1",
        "MILLRACE_AUTH_DATABASE_URL": f"sqlite+aiosqlite:///{data / 'auth.sqlite'}",
        "MILLRACE_CREDENTIALS_FILE": data / "credentials.json",
    }
    query = {
        "MILLRACE_HOST": "127.0.0.1",
        "MILLRACE_LAKE": data.absolute() / "parquet",
        "MILLRACE_AUTH_URL": auth_url,
    }
    moved = {"MILLRACE_DATA": data, "MILLRACE_BUS": bus, "MILLRACE_OBJECTS": objects}
    started = time.monotonic()
    with ExitStack() as stack:

        def start(module: str, settings: dict[str, object], management: int) -> Running:
            log = data / "logs" / f"{module.replace('.', '-')}.log"
            common = {"MILLRACE_PORT_OFFSET": offset, "MILLRACE_LOG_LEVEL": "WARNING"}
            process = stack.enter_context(running(["-m", module], log, common | settings))
            wait_until_ready(process, [f"http://127.0.0.1:{management + offset}/ready"])
            return process

        start("auth_service.processes.server", auth, PORTS["auth-service"].management)
        door = {"MILLRACE_BUS": f"journal:{data}", "MILLRACE_WEBHOOK_HOST": "127.0.0.1"}
        process = start("ingest_service.processes.webhook", door, PORTS["ingest-service"].management)
        start("ingest_service.processes.lake_writer", moved, PROCESS_PORTS["lake-writer"])
        start("ingest_service.processes.relay", moved, PROCESS_PORTS["relay"])
        start("query_service.processes.server", query, PORTS["query-service"].management)
        yield Up(process, offset, data, time.monotonic() - started, process.cpu_s())


def _visible_ns(table: Path, polls: Times) -> Times:
    """When each message was found, by its number.

    Commits follow each other, so that a count of n shows the commits with the first n rows, whichever messages
    they hold.
    """
    times, counts = polls[:, 0], np.maximum.accumulate(polls[:, 1])
    found: dict[int, int] = {}
    rows = 0
    for entry in sorted((table / "_delta_log").glob("*.json")):
        added = [json.loads(line) for line in entry.read_bytes().splitlines()]
        paths = [unquote(action["add"]["path"]) for action in added if "add" in action]
        numbers = [
            int(text) - FIRST_ID
            for path in paths
            for text in pq.ParquetFile(table / path).read(["msg_id"]).column(0).to_pylist()
        ]
        rows += len(numbers)
        found |= dict.fromkeys(numbers, int(times[min(np.searchsorted(counts, rows), len(times) - 1)]))
    return np.array([found[number] for number in sorted(found)], np.int64)
