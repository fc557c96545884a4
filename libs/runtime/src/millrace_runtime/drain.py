"""Stopping behind a load balancer: whoever still sends here is moved on before the port closes.

A balancer, and a client that keeps its connections, learn by and by that a server ends. So it goes on serving for a
while and closes each HTTP/1 connection after its next answer, which says so: a client that was told opens its next
connection elsewhere. Closing unasked would race with the request that is just being sent. HTTP/2 and gRPC have a
message of their own for this (GOAWAY), sent when the server stops.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from pydantic import Field

from millrace_runtime.settings import Settings

_RSGI_ANSWERS = ("response_empty", "response_str", "response_bytes", "response_file", "response_stream")


class DrainSettings(Settings):
    """Settings of a process that others reach by a load balancer."""

    drain_s: float = Field(
        default=0,
        ge=0,
        le=600,
        description="seconds for which the process goes on serving after SIGTERM, closing each HTTP connection after"
        " its next answer; for as long as a load balancer takes to send nothing more",
    )


def closing(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of a request, ASGI's or RSGI's, changed so that its connection ends with its answer."""
    if len(arguments) == 2:  # RSGI: scope, protocol
        scope, protocol = arguments
        return (scope, _ClosingProtocol(protocol)) if scope.http_version.startswith("1") else arguments
    scope, receive, send = arguments
    return (scope, receive, _closing_send(send)) if scope["http_version"].startswith("1") else arguments


class _ClosingProtocol:
    """An RSGI protocol whose answer has one header more."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def __call__(self) -> Awaitable[bytes]:
        body: Awaitable[bytes] = self._protocol()
        return body

    def __aiter__(self) -> Any:
        return self._protocol.__aiter__()

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._protocol, name)
        if name not in _RSGI_ANSWERS:
            return value
        return lambda status, headers, *rest: value(status, [*headers, ("connection", "close")], *rest)


def _closing_send(
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> Callable[[MutableMapping[str, Any]], Awaitable[None]]:
    async def send_closing(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
        await send(message)

    return send_closing
