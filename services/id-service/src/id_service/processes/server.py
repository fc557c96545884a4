"""The id service as a process: `python -m id_service.processes.server`."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from pydantic import Field

from id_service.settings import IdSettings
from millrace_runtime.auth import remote_verifier
from millrace_runtime.clock import SYSTEM_CLOCK
from millrace_runtime.drain import DrainSettings
from millrace_runtime.logs import configure_logging, get_logger
from millrace_runtime.peers import CallerSettings, PeerSetting
from millrace_runtime.process import run
from millrace_runtime.service import PORTS, Service
from millrace_runtime.settings import report_unknown
from millrace_runtime.startup import serve_when_there
from millrace_runtime.tls import TlsSettings
from millrace_runtime.tracing import TracingSettings, exporting

log = get_logger(__name__)


class ServerSettings(IdSettings, TlsSettings, CallerSettings, TracingSettings, DrainSettings):
    """Settings of the process that serves id-service alone."""

    auth_url: PeerSetting = Field(
        description="host:port of auth-service's gRPC, which checks keys; https://host:port by TLS"
    )
    host: str = Field(default="0.0.0.0", description="address to listen on")  # noqa: S104 ID-47's default
    port_offset: int = Field(default=0, ge=0, le=15_000, description="added to ports 8080, 50051 and 9091")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="DEBUG, INFO, WARNING or ERROR"
    )
    environment: Literal["development", "production"] = Field(
        default="development", validation_alias="IDGEN_ENV", description="production: no gRPC reflection"
    )


async def serve(stop: asyncio.Event) -> None:
    """Serve on the ports of the table until `stop` is set."""
    settings = ServerSettings.load()
    configure_logging("id-service", settings.log_level)
    for warning in report_unknown(os.environ, ServerSettings.names()):
        log.warning("unknown_setting", text=warning)
    tls, authorities = settings.server_tls(), settings.authorities()
    # Costs a second or two to import: not before the settings are known to be right.
    from id_service.compose import compose

    endpoint = PORTS["id-service"].on(settings.host).shifted(settings.port_offset)

    @asynccontextmanager
    async def composed() -> AsyncIterator[Service]:
        async with (
            remote_verifier(settings.auth_url, clock=SYSTEM_CLOCK, authorities=authorities) as verifier,
            compose(settings, verifier=verifier, clock=SYSTEM_CLOCK) as service,
        ):
            verifier.export(service.registry)
            yield service

    async with exporting(settings):
        await serve_when_there(
            composed,
            endpoint,
            stop,
            reflection=settings.environment != "production",
            tls=tls,
            drain_s=settings.drain_s,
        )


def main() -> int:
    """Run until SIGTERM or SIGINT; the process's exit code."""
    return run(serve)


if __name__ == "__main__":
    sys.exit(main())
