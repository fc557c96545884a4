"""Relays the journals of a data directory to Kafka by the real relay, in a process of its own.

`python -m tests.bench.relay_run DATA BOOTSTRAP LINES` ends when LINES lines are relayed and prints JSON.
"""

import asyncio
import contextlib
import json
import sys
import time
from pathlib import Path

from prometheus_client import CollectorRegistry
from tests.bench.machine import peak_mb

from ingest_service.compose_relay import compose_relay
from ingest_service.relay.settings import RelaySettings
from millrace_runtime.logs import configure_logging
from millrace_runtime.process import run

_LOOK_EVERY_S = 0.02
_LINES = "millrace_relayed_lines_total"


async def relay(stop: asyncio.Event) -> None:
    """From the start of the relay to the acknowledgement of the last line."""
    data, bootstrap, lines = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    configure_logging("ingest-service", "WARNING")
    settings = RelaySettings.load(data=data, bus=f"kafka://{bootstrap}", objects=f"file://{data}/objects")
    registry = CollectorRegistry()
    started, used = time.perf_counter(), time.process_time()
    async with compose_relay(settings, registry=registry):
        while (registry.get_sample_value(_LINES) or 0) < lines and not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _LOOK_EVERY_S)
        seconds, cpu_s = time.perf_counter() - started, time.process_time() - used
    print(json.dumps({"seconds": seconds, "cpu_s": cpu_s, "peak_mb": peak_mb()}))


if __name__ == "__main__":
    sys.exit(run(relay))
