"""auth-service alone: `python -m auth_service.processes.server`."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from auth_service.compose import NAME, compose
from auth_service.settings import ServerSettings
from millrace_runtime.clock import SYSTEM_CLOCK
from millrace_runtime.logs import configure_logging, get_logger
from millrace_runtime.process import run
from millrace_runtime.service import PORTS, Service
from millrace_runtime.settings import report_unknown
from millrace_runtime.startup import serve_when_there
from millrace_runtime.tracing import exporting

log = get_logger(__name__)


async def serve(stop: asyncio.Event) -> None:
    """Serve until `stop` is set."""
    settings = ServerSettings.load()
    configure_logging(NAME, settings.log_level)
    for message in report_unknown(os.environ, ServerSettings.names()):
        log.warning("unknown_setting", message=message)
    tls = settings.server_tls()
    endpoint = PORTS[NAME].on(settings.host).shifted(settings.port_offset)

    @asynccontextmanager
    async def service() -> AsyncIterator[Service]:
        async with compose(settings, clock=SYSTEM_CLOCK) as parts:
            yield parts.service

    async with exporting(settings):
        await serve_when_there(
            service,
            endpoint,
            stop,
            reflection=settings.environment != "production",
            tls=tls,
            drain_s=settings.drain_s,
        )


def main() -> int:
    """The exit code of the process."""
    return run(serve)


if __name__ == "__main__":
    sys.exit(main())
