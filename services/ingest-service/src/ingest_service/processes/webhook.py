"""The webhook door as a process: `ingest-service serve`, or `python -m ingest_service.processes.webhook`."""

import argparse
import asyncio
import gc
import os
import sys
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ingest_service.compose_webhook import compose_webhook
from ingest_service.settings_file import load_settings
from ingest_service.settings_webhook import SHEET_PREFIX, WebhookSettings
from millrace_runtime.auth import Principal, Verifier, remote_verifier
from millrace_runtime.clock import SYSTEM_CLOCK
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.logs import configure_logging, get_logger
from millrace_runtime.process import run
from millrace_runtime.service import Endpoint, serving
from millrace_runtime.settings import PREFIX, report_unknown
from millrace_runtime.tracing import exporting

log = get_logger(__name__)

_PORT_OPTIONS = "MILLRACE_WEBHOOK_PORT (or _GRPC_PORT, _MANAGEMENT_PORT) or MILLRACE_PORT_OFFSET"
_SERVE_PORT_OPTIONS = f"--port, {_PORT_OPTIONS}"
_PREFIXES = (SHEET_PREFIX, f"{PREFIX}{SHEET_PREFIX}", PREFIX)
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What a command line says: fields of `WebhookSettings` that win, a settings file below the environment, and
    whether to say on stdout where the door is."""

    config: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    announced: bool = False


class NoVerifier:
    """Publish without an auth-service: refused with the reason, while the webhook works."""

    async def check(self, api_key: str) -> Principal:
        """Refuse."""
        raise ServiceError(ErrorCode.UNAVAILABLE, "no auth-service: MILLRACE_AUTH_URL is not set")


async def serve(stop: asyncio.Event, options: ServeOptions | None = None) -> None:
    """Run the door until `stop`. Raises SettingsError, PortTakenError."""
    options = options or ServeOptions()
    settings = load_settings(WebhookSettings, options.config, options=options.settings, prefixes=_PREFIXES)
    configure_logging(settings.webhook_service_name, settings.webhook_log_level)
    for warning in report_unknown(os.environ, WebhookSettings.names(), (PREFIX, SHEET_PREFIX)):
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
            port_option=_SERVE_PORT_OPTIONS if options.announced else _PORT_OPTIONS,
            reflection=settings.environment != "production",
            tls=tls,
            drain_s=settings.drain_s,
        ),
    ):
        place = {
            "host": endpoint.host,
            "port": endpoint.http_port,
            "log_level": settings.webhook_log_level,
            "log_file": str(settings.log_file),
            "webhook_path": settings.webhook_path,
            "health_path": settings.webhook_health_path,
        }
        log.info("door_open", **place)
        if options.announced:
            _announce(place)
        # What was imported stays: without this, full collections look at all of it, 20 ms each.
        gc.collect()
        gc.freeze()
        await stop.wait()


def _announce(place: dict[str, Any]) -> None:
    """For the person who has started the door; a stdout that is closed is nothing to fail for."""
    lines = [f"{name.replace('_', ' ')}: {value}" for name, value in place.items()]
    try:
        print("\n".join(lines), flush=True)  # noqa: T201 a result of the command
    except OSError as error:
        log.warning("stdout_closed", cause=str(error))


def _verifier(settings: WebhookSettings) -> AbstractAsyncContextManager[Verifier]:
    if settings.auth_url is None:
        return nullcontext(NoVerifier())
    authorities = settings.authorities()
    return remote_verifier(settings.auth_url, clock=SYSTEM_CLOCK, authorities=authorities)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `serve`, which win over settings (LAKE 2.1)."""
    parser.add_argument(
        "--config", type=Path, metavar="PATH", help="YAML file of settings; the environment wins over it"
    )
    parser.add_argument("--host", metavar="H", help="address to listen on")
    parser.add_argument("--port", type=_port, metavar="N", help="port of the webhook, 1 to 65535")
    parser.add_argument("--log-level", type=str.upper, choices=_LEVELS, metavar="L", help=", ".join(_LEVELS))


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:6]) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: 1 to 65535")
    return int(text)


def serve_command(arguments: argparse.Namespace) -> int:
    """`ingest-service serve`: as `main`, by the options of the command line."""
    given = {
        "webhook_host": arguments.host,
        "webhook_port": arguments.port,
        "webhook_log_level": arguments.log_level,
    }
    settings = {name: value for name, value in given.items() if value is not None}
    return run(partial(serve, options=ServeOptions(arguments.config, settings, announced=True)))


def main() -> int:
    """Serve until SIGTERM; the exit code of the process."""
    return run(serve)


if __name__ == "__main__":
    sys.exit(main())
