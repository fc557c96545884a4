"""Lands the journals of a data directory by the real lake writer, in a process of its own.

`python -m tests.bench.land_writer DATA LINES` ends when LINES lines are accounted for and prints JSON.
"""

import asyncio
import contextlib
import dataclasses
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
    """From the start of the writer to the commit of the last line."""
    data, lines = Path(sys.argv[1]), int(sys.argv[2])
    configure_logging("ingest-service", "WARNING")
    settings = LakeWriterSettings.load(data=data, bus=f"journal:{data}")
    started, used = time.perf_counter(), time.process_time()
    async with compose_lake_writer(settings, registry=CollectorRegistry()) as writer:
        while writer.totals.lines < lines and not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _LOOK_EVERY_S)
        seconds, cpu_s = time.perf_counter() - started, time.process_time() - used
        totals = dataclasses.asdict(writer.totals)
    most_mb = peak_mb()
    print(json.dumps({"seconds": seconds, "cpu_s": cpu_s, "peak_mb": most_mb, "totals": totals}))


if __name__ == "__main__":
    sys.exit(run(land))
