"""The lake writer: bus -> Delta tables, exactly once."""

from __future__ import annotations

import asyncio
import os
import sys

from prometheus_client import CollectorRegistry

from ingest_service.compose_lake_writer import compose_lake_writer
from ingest_service.land.settings import LakeWriterSettings
from millrace_runtime.health import Health
from millrace_runtime.logs import configure_logging, get_logger
from millrace_runtime.process import run
from millrace_runtime.service import Service, process_endpoint, serving
from millrace_runtime.settings import report_unknown
from millrace_runtime.tracing import exporting

log = get_logger(__name__)


async def serve(stop: asyncio.Event) -> None:
    """Land and serve the management port until told to stop."""
    settings = LakeWriterSettings.load()
    configure_logging("ingest-service", settings.log_level)
    for line in report_unknown(os.environ, settings.names()):
        log.warning("unknown_setting", message=line)
    registry = CollectorRegistry()
    async with exporting(settings), compose_lake_writer(settings, registry=registry) as writer:
        service = Service("ingest-service", health=Health({"lake_writer": writer.check}), registry=registry)
        async with serving(service, process_endpoint("lake-writer", settings.port_offset).on(settings.host)):
            await stop.wait()


def main() -> int:
    """Run until SIGTERM or SIGINT; the process's exit code."""
    return run(serve)


if __name__ == "__main__":
    sys.exit(main())
