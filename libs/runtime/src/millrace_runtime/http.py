"""HTTP: the application every service starts from, and the server that runs it.

Importing this module loads neither FastAPI nor granian: the webhook door needs only one of them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal

from millrace_runtime.clock import Clock
from millrace_runtime.drain import closing
from millrace_runtime.listen import ListenError, PortTakenError, probe
from millrace_runtime.logs import get_logger
from millrace_runtime.tls import ServerTls
from millrace_runtime.tracing import tracer

if TYPE_CHECKING:
    from fastapi import FastAPI

log = get_logger(__name__)

Interface = Literal["asgi", "rsgi"]

DEFAULT_MAX_BODY_BYTES = 1024 * 1024
"""Longest request body of an API (ID-49)."""

_START_TIMEOUT_S = 10.0
_CANCEL_TIMEOUT_S = 1.0
_HEADER_TIMEOUT_MS = 8_000
"""A client that takes longer to send a header is cut off: less than the usual grace of a stop."""


def create_app(
    name: str, version: str, *, clock: Clock, max_body_bytes: int | None = DEFAULT_MAX_BODY_BYTES
) -> "FastAPI":
    """An application whose errors, request ids and headers are already right (ID-49, 53, 54).

    Where the process exports (`millrace_runtime.tracing`), sampled requests become spans of the service `name`.
    Its OpenAPI description is at `/api-docs/openapi.json`. `max_body_bytes=None` lifts the limit.
    The application has no lifespan: resources belong to the service's compose function.
    """
    from fastapi import FastAPI

    from millrace_runtime.edge import Edge
    from millrace_runtime.http_errors import install_error_handlers

    app = FastAPI(
        title=name,
        version=version,
        openapi_url="/api-docs/openapi.json",
        docs_url=None,  # the interactive pages load scripts that our own CSP forbids
        redoc_url=None,
        redirect_slashes=False,
        strict_content_type=False,  # what is sent to a JSON API is JSON, whatever `curl -d` calls it
        # Its own spans have whole queries in them, and know no limit for what callers turn on.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    install_error_handlers(app, clock)
    app.add_middleware(Edge, clock=clock, max_body_bytes=max_body_bytes, tracer=tracer(name))
    return app


class HttpServer:
    """One granian server inside the running event loop.

    `interface` is "asgi" (no lifespan) or "rsgi"; `backpressure` bounds the requests in progress.
    With `tls`, TLS 1.2 or newer is the only way in. Signals, log lines and workers are not granian's
    business here.
    """

    def __init__(
        self,
        app: Any,
        *,
        interface: Interface,
        host: str,
        port: int,
        backpressure: int | None = None,
        tls: ServerTls | None = None,
    ) -> None:
        self._requests = _Requests(getattr(app, "__rsgi__", app) if interface == "rsgi" else app)
        self._interface = interface
        self._host = host
        self._port = port
        self._backpressure = backpressure
        self._tls = tls
        self._server: Any = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when the port answers. Raises `PortTakenError`, or `ListenError` if the address
        cannot be used."""
        probe(self._host, self._port)
        self._server = _granian(
            self._requests, self._interface, self._host, self._port, self._backpressure, self._tls
        )
        self._serving = asyncio.create_task(self._server.serve())
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                await self._until_accepting(self._serving)
        except TimeoutError:
            await self.stop(0)
            raise ListenError(f"the HTTP server on {self._host} port {self._port} does not answer") from None

    def drain(self) -> None:
        """Go on serving, but end each connection with its next answer."""
        self._requests.closing = True

    async def stop(self, grace_s: float) -> None:
        """Take no new connections, let requests in progress finish for at most `grace_s` seconds,
        then cancel them."""
        serving, self._serving = self._serving, None
        if serving is None:
            return
        self._server.stop()
        _, pending = await asyncio.wait({serving}, timeout=grace_s)
        if pending:
            log.warning("requests_cut_off", port=self._port, grace_s=grace_s, requests=len(self._requests))
            self._requests.cancel()
            _, pending = await asyncio.wait({serving}, timeout=_CANCEL_TIMEOUT_S)
        if pending:  # a client has not yet sent a whole header: no request of ours to cancel
            for worker in self._server.wrks:
                worker.kill()
            serving.cancel()
            await asyncio.wait({serving})

    async def _until_accepting(self, serving: asyncio.Task[None]) -> None:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104
        while True:
            if serving.done():
                raise self._failure(serving)
            try:
                _, writer = await asyncio.open_connection(host, self._port)
            except OSError:
                await asyncio.sleep(0.005)
                continue
            writer.close()
            await writer.wait_closed()
            return

    def _failure(self, serving: asyncio.Task[None]) -> Exception:
        """Why granian ended although nobody stopped it: mostly that the port went after the probe."""
        error = serving.exception()
        log.error("http_server_failed", port=self._port, exc_info=error)
        if isinstance(error, RuntimeError):
            return PortTakenError(self._host, self._port)
        return ListenError(f"the HTTP server on {self._host} port {self._port} did not start")


class _Requests:
    """The application, knowing the requests it is busy with: granian itself would wait for them
    without end. Serves both interfaces, which differ in their arguments only."""

    def __init__(self, app: Callable[..., Awaitable[Any]]) -> None:
        self.closing = False
        self._app = app
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    async def __call__(self, *arguments: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._app(*(closing(arguments) if self.closing else arguments))
        finally:
            self._tasks.discard(task)

    def cancel(self) -> None:
        """Cancel every request in progress; its connection is closed."""
        for task in self._tasks:
            task.cancel()


def _granian(
    app: Any, interface: Interface, host: str, port: int, backpressure: int | None, tls: ServerTls | None
) -> Any:
    from granian.constants import Interfaces, SSLProtocols
    from granian.http import HTTP1Settings
    from granian.server.embed import Server

    return Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGINL if interface == "asgi" else Interfaces.RSGI,
        backlog=1024,
        backpressure=backpressure,
        websockets=False,
        ssl_cert=None if tls is None else tls.certificate_file,
        ssl_key=None if tls is None else tls.key_file,
        ssl_protocol_min=SSLProtocols.tls12,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_TIMEOUT_MS),
        log_enabled=False,
        # Incremental: granian would otherwise close every logging handler of the process.
        log_dictconfig={"incremental": True, "handlers": {}, "loggers": {}},
    )
