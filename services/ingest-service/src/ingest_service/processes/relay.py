"""The relay of one door: its journals -> Kafka."""

from __future__ import annotations

import asyncio
import gc
import os
import sys

from prometheus_client import CollectorRegistry

from ingest_service.compose_relay import compose_relay
from ingest_service.relay.settings import RelaySettings
from millrace_runtime.health import Health
from millrace_runtime.logs import configure_logging, get_logger
from millrace_runtime.process import run
from millrace_runtime.service import Service, process_endpoint, serving
from millrace_runtime.settings import report_unknown
from millrace_runtime.tracing import exporting

log = get_logger(__name__)


async def serve(stop: asyncio.Event) -> None:
    """Relay and serve the management port until told to stop."""
    settings = RelaySettings.load()
    configure_logging("ingest-service", settings.log_level)
    for line in report_unknown(os.environ, settings.names()):
        log.warning("unknown_setting", message=line)
    registry = CollectorRegistry()
    async with exporting(settings), compose_relay(settings, registry=registry) as relay:
        service = Service("ingest-service", health=Health({"relay": relay.check}), registry=registry)
        async with serving(service, process_endpoint("relay", settings.port_offset).on(settings.host)):
            # What was imported stays: without this, full collections look at all of it, 20 ms each.
            gc.collect()
            gc.freeze()
            await stop.wait()


def main() -> int:
    """Run until SIGTERM or SIGINT; the process's exit code."""
    return run(serve)


if __name__ == "__main__":
    sys.exit(main())
