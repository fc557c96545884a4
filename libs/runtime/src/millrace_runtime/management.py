"""The management port of a process: is it alive, can it work, what does it measure."""

import json
from types import TracebackType
from typing import Protocol, Self

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from millrace_runtime.edge import AsgiApp, Receive, Scope, Send
from millrace_runtime.health import Health
from millrace_runtime.http import HttpServer
from millrace_runtime.listen import PortTakenError, probe

_JSON = "application/json"


class Managed(Protocol):
    """What the port shows, looked at anew for every request."""

    health: Health
    registry: CollectorRegistry


def management_app(managed: Managed) -> AsgiApp:
    """ASGI application with `GET /live` (200 while the loop turns), `GET /ready` (200, or 503 naming
    the failing checks) and `GET /metrics` (Prometheus text)."""

    async def answer(path: str) -> tuple[int, str, bytes]:
        match path:
            case "/live":
                return 200, _JSON, b'{"live":true}'
            case "/ready":
                report = await managed.health.ready()
                return 200 if report["ready"] else 503, _JSON, json.dumps(report).encode()
            case "/metrics":
                return 200, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(managed.registry)
            case _:
                return 404, _JSON, b'{"error":"this port has /live, /ready and /metrics"}'

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        extra = []
        if scope["method"] in ("GET", "HEAD"):
            status, content_type, body = await answer(scope["path"])
        else:
            status, content_type, body = 405, _JSON, b'{"error":"only GET"}'
            extra = [(b"allow", b"GET, HEAD")]
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            *extra,
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return app


class ManagementPort:
    """The port, open inside the block: alive and not ready, saying why, until `show` gives it a service.

    Entering raises `PortTakenError` naming the port and `option`, or `ListenError`.
    """

    def __init__(self, host: str, port: int, option: str) -> None:
        self._host, self._port, self._option = host, port, option
        self._waiting = "still starting"
        self.health = Health({"started": self._started})
        self.registry = CollectorRegistry()
        self._server = HttpServer(management_app(self), interface="asgi", host=host, port=port)

    def waits(self, reason: str) -> None:
        """Say why the service is not there yet."""
        self._waiting = reason

    def show(self, managed: Managed) -> None:
        """From now on answer for this service."""
        self.health, self.registry = managed.health, managed.registry

    async def __aenter__(self) -> Self:
        probe(self._host, self._port, self._option)
        try:
            await self._server.start()
        except PortTakenError:
            raise PortTakenError(self._host, self._port, self._option) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop(1.0)

    async def _started(self) -> None:
        raise RuntimeError(self._waiting)
