"""The webhook door as a process: `python -m ingest_service.processes.webhook`."""

import asyncio
import gc
import os
import sys
from contextlib import AbstractAsyncContextManager, nullcontext

from ingest_service.compose_webhook import compose_webhook
from ingest_service.settings_webhook import WebhookSettings
from millrace_runtime.auth import Principal, Verifier, remote_verifier
from millrace_runtime.clock import SYSTEM_CLOCK
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.logs import configure_logging, get_logger
from millrace_runtime.process import run
from millrace_runtime.service import Endpoint, serving
from millrace_runtime.settings import report_unknown
from millrace_runtime.tracing import exporting

log = get_logger(__name__)

_PORT_OPTIONS = "MILLRACE_WEBHOOK_PORT (or _GRPC_PORT, _MANAGEMENT_PORT) or MILLRACE_PORT_OFFSET"


class NoVerifier:
    """Publish without an auth-service: refused with the reason, while the webhook works."""

    async def check(self, api_key: str) -> Principal:
        """Refuse."""
        raise ServiceError(ErrorCode.UNAVAILABLE, "no auth-service: MILLRACE_AUTH_URL is not set")


async def serve(stop: asyncio.Event) -> None:
    """Run the door until `stop`. Raises SettingsError, PortTakenError."""
    settings = WebhookSettings.load()
    configure_logging(settings.webhook_service_name, settings.webhook_log_level)
    for warning in report_unknown(os.environ, WebhookSettings.names()):
        log.warning("unknown_setting", detail=warning)
    tls = settings.server_tls()
    endpoint = Endpoint(
        settings.webhook_host,
        settings.webhook_port,
        settings.webhook_grpc_port,
        settings.webhook_management_port,
    ).shifted(settings.port_offset)
    async with (
        exporting(settings),
        _verifier(settings) as verifier,
        compose_webhook(settings, verifier=verifier, clock=SYSTEM_CLOCK) as service,
        serving(
            service,
            endpoint,
            port_option=_PORT_OPTIONS,
            reflection=settings.environment != "production",
            tls=tls,
            drain_s=settings.drain_s,
        ),
    ):
        log.info(
            "door_open",
            host=endpoint.host,
            port=endpoint.http_port,
            log_level=settings.webhook_log_level,
            log_file=str(settings.log_file),
            webhook_path=settings.webhook_path,
            health_path=settings.webhook_health_path,
        )
        # What was imported stays: without this, full collections look at all of it, 20 ms each.
        gc.collect()
        gc.freeze()
        await stop.wait()


def _verifier(settings: WebhookSettings) -> AbstractAsyncContextManager[Verifier]:
    if settings.auth_url is None:
        return nullcontext(NoVerifier())
    authorities = settings.authorities()
    return remote_verifier(settings.auth_url, clock=SYSTEM_CLOCK, authorities=authorities)


def main() -> int:
    """Serve until SIGTERM; the exit code of the process."""
    return run(serve)


if __name__ == "__main__":
    sys.exit(main())
