"""The maintenance process: compaction, log upkeep and removal of unneeded files, under one lease."""

from __future__ import annotations

import asyncio
import os
import sys

from prometheus_client import CollectorRegistry

from ingest_service.compose_maintenance import compose_maintenance
from ingest_service.keep.settings import MaintenanceSettings
from millrace_runtime.health import Health
from millrace_runtime.logs import configure_logging, get_logger
from millrace_runtime.process import run
from millrace_runtime.service import Service, process_endpoint, serving
from millrace_runtime.settings import report_unknown
from millrace_runtime.tracing import exporting

log = get_logger(__name__)


async def serve(stop: asyncio.Event) -> None:
    """Keep the lake and serve the management port until told to stop."""
    settings = MaintenanceSettings.load()
    configure_logging("ingest-service", settings.log_level)
    for line in report_unknown(os.environ, settings.names()):
        log.warning("unknown_setting", message=line)
    registry = CollectorRegistry()
    async with exporting(settings), compose_maintenance(settings, registry=registry) as maintenance:
        service = Service(
            "ingest-service", health=Health({"maintenance": maintenance.check}), registry=registry
        )
        async with serving(service, process_endpoint("maintenance", settings.port_offset).on(settings.host)):
            await stop.wait()


def main() -> int:
    """Run until SIGTERM or SIGINT; the process's exit code."""
    return run(serve)


if __name__ == "__main__":
    sys.exit(main())
