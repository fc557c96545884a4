"""query-service alone: `python -m query_service.processes.server`."""

import asyncio
import os
import sys

from millrace_runtime.auth import remote_verifier
from millrace_runtime.clock import SYSTEM_CLOCK
from millrace_runtime.logs import configure_logging, get_logger
from millrace_runtime.process import run
from millrace_runtime.service import PORTS, serving
from millrace_runtime.settings import report_unknown
from millrace_runtime.tracing import exporting
from query_service.settings import ServerSettings

log = get_logger(__name__)


async def serve(stop: asyncio.Event) -> None:
    """Serve by the settings of the environment until `stop` is set."""
    settings = ServerSettings.load()
    configure_logging("query-service", settings.log_level)
    for warning in report_unknown(os.environ, ServerSettings.names()):
        log.warning("unknown_setting", text=warning)
    tls, authorities = settings.server_tls(), settings.authorities()
    # Costs a second to import: not before the settings are known to be right.
    from query_service.compose import compose

    endpoint = PORTS["query-service"].on(settings.host).shifted(settings.port_offset)
    async with (
        exporting(settings),
        remote_verifier(settings.auth_url, clock=SYSTEM_CLOCK, authorities=authorities) as verifier,
        compose(settings, verifier=verifier, clock=SYSTEM_CLOCK) as service,
    ):
        verifier.export(service.registry)
        async with serving(
            service,
            endpoint,
            reflection=settings.environment != "production",
            tls=tls,
            drain_s=settings.drain_s,
        ):
            await stop.wait()


def main() -> int:
    """Run until SIGTERM or SIGINT; the process's exit code."""
    return run(serve)


if __name__ == "__main__":
    sys.exit(main())
