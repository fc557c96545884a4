"""Lands the topic into a data directory by the real lake writer, in a process of its own, until it is stopped.

`python -m tests.bench.land_kafka_writer DATA BOOTSTRAP` prints JSON at its end: when it began and when its last
commit was there (CLOCK_MONOTONIC, which all processes share).
"""

import asyncio
import contextlib
import json
import sys
import time
from pathlib import Path

from prometheus_client import CollectorRegistry
from tests.bench.machine import peak_mb

from ingest_service.compose_lake_writer import compose_lake_writer
from ingest_service.land.settings import LakeWriterSettings
from millrace_runtime.logs import configure_logging
from millrace_runtime.process import run

_LOOK_EVERY_S = 0.02


async def land(stop: asyncio.Event) -> None:
    """From the start of the writer to the stop."""
    data, bootstrap = Path(sys.argv[1]), sys.argv[2]
    configure_logging("ingest-service", "WARNING")
    settings = LakeWriterSettings.load(data=data, bus=f"kafka://{bootstrap}")
    began, used = time.monotonic(), time.process_time()
    ended, cpu_s, lines = began, 0.0, 0
    async with compose_lake_writer(settings, registry=CollectorRegistry()) as writer:
        while not stop.is_set():
            if writer.totals.lines > lines:
                lines = writer.totals.lines
                ended, cpu_s = time.monotonic(), time.process_time() - used
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _LOOK_EVERY_S)
    found = {"began": began, "ended": ended, "cpu_s": cpu_s, "peak_mb": peak_mb(), "lines": lines}
    print(json.dumps(found))


if __name__ == "__main__":
    sys.exit(run(land))
