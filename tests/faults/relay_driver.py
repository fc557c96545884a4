"""A relay whose bus is a directory: records can be read back after it was killed (`millrace_testkit.recorded`)."""

from __future__ import annotations

import asyncio
import sys

from prometheus_client import CollectorRegistry

from ingest_service.compose_relay import compose_relay
from ingest_service.relay.settings import RelaySettings
from millrace_runtime.logs import configure_logging
from millrace_runtime.process import run
from millrace_testkit.recorded import RecordedBus


async def main(stop: asyncio.Event) -> None:
    """Relay below the data directory until told to stop."""
    configure_logging("ingest-service", "INFO")
    settings = RelaySettings.load()
    bus = RecordedBus(settings.data / "recorded")
    async with compose_relay(settings, registry=CollectorRegistry(), bus=bus):
        await stop.wait()
    await bus.close()


if __name__ == "__main__":
    sys.exit(run(main))
