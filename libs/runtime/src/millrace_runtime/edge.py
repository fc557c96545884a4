"""The outermost layer of every HTTP application: request id, headers, limits, last-resort errors."""

import json
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from uuid import uuid4

from millrace_runtime.clock import Clock
from millrace_runtime.errors import ErrorCode, ServiceError, error_body
from millrace_runtime.logs import get_logger, request_id
from millrace_runtime.tracing import Span, Tracer
from millrace_runtime.tracing.traceparent import HEADER as TRACEPARENT

log = get_logger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

API_VERSION = "v1"

SECURITY_HEADERS: tuple[tuple[str, str], ...] = (
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("content-security-policy", "default-src 'self'"),
    ("strict-transport-security", "max-age=31536000"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
)
"""Sent with every answer (ID-53)."""

_SECURITY_HEADERS_RAW = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS]
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_TRACEPARENT = TRACEPARENT.encode()
_SANE_REQUEST_ID = re.compile(r"[\x20-\x7e]{1,128}")


def request_id_from(sent: str | None) -> str:
    """The caller's request id where it is at most 128 printable ASCII characters, else a new one.

    Anything else could forge log lines or headers.
    """
    if sent is not None and _SANE_REQUEST_ID.fullmatch(sent):
        return sent
    return str(uuid4())


def error_bytes(error: ServiceError, *, request_id: str, clock: Clock) -> bytes:
    """The body of ID-54 as JSON."""
    body = error_body(error, request_id=request_id, now=clock.now())
    return json.dumps(body, ensure_ascii=False, default=str).encode(errors="replace")


class Edge:
    """ASGI middleware around a whole application. Guarantees for every request:

    - the answer carries `X-Request-Id` (the caller's if sane, else new) and the headers of ID-53;
    - the id is bound in the logs while the request runs;
    - a body over `max_body_bytes` is 413, an `X-API-Version` other than v1 is 400 (ID-49);
    - whatever the application raises becomes a body of ID-54 that reveals nothing about our inside;
    - with a `tracer`, a sampled request is a span.
    """

    def __init__(
        self, app: AsgiApp, *, clock: Clock, max_body_bytes: int | None, tracer: Tracer | None = None
    ) -> None:
        self._app = app
        self._clock = clock
        self._max_body_bytes = max_body_bytes
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._tracer is not None and (
            span := self._tracer.begin("HTTP", _header(scope["headers"], _TRACEPARENT))
        ):
            await self._traced(span, scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _traced(self, span: Span, scope: Scope, receive: Receive, send: Send) -> None:
        """The request within its span. Of its target only the route is told: paths and queries name people."""
        status = 0

        async def send_noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with span:
            try:
                await self._serve(scope, receive, send_noting_status)
            finally:
                method = scope["method"] if scope["method"] in _METHODS else "HTTP"
                route = getattr(scope.get("route"), "path_format", "")
                span.rename(f"{method} {route}".rstrip())
                span.set("http.request.method", method if method != "HTTP" else "_OTHER")
                span.set("http.response.status_code", status)
                if route:
                    span.set("http.route", route)
            if status >= 500:
                span.end(str(status))

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        identity = request_id_from(_header(scope["headers"], b"x-request-id"))
        version = _header(scope["headers"], b"x-api-version")
        added = [*_SECURITY_HEADERS_RAW, (b"x-request-id", identity.encode())]
        if version == API_VERSION:
            added.append((b"x-api-version", API_VERSION.encode()))
        answered = False

        async def send_with_headers(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        token = request_id.set(identity)
        try:
            if version not in (None, API_VERSION):
                raise ServiceError(
                    ErrorCode.UNSUPPORTED_API_VERSION, f"X-API-Version: only {API_VERSION} is served"
                )
            await self._app(scope, self._limited(scope, receive), send_with_headers)
        except Exception as error:
            if not isinstance(error, ServiceError):
                log.exception("request_failed", method=scope["method"], path=scope["path"])
            if answered:
                raise  # half an answer is out: only cutting the connection tells the caller
            await self._refuse(error, identity, send_with_headers)
        finally:
            request_id.reset(token)

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """`receive`, ending in PAYLOAD_TOO_LARGE once more than the allowed bytes are announced or come."""
        limit = self._max_body_bytes
        if limit is None:
            return receive
        announced = _header(scope["headers"], b"content-length") or ""
        if announced.isdecimal() and int(announced[:19]) > limit:
            raise _too_large(limit)
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _too_large(limit)
            return message

        return receive_limited

    async def _refuse(self, error: Exception, identity: str, send: Send) -> None:
        shown = (
            error
            if isinstance(error, ServiceError)
            else ServiceError(ErrorCode.INTERNAL, "internal error; the logs have it under the request id")
        )
        body = error_bytes(shown, request_id=identity, clock=self._clock)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": shown.http_status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _too_large(limit: int) -> ServiceError:
    return ServiceError(ErrorCode.PAYLOAD_TOO_LARGE, f"body: longer than {limit} bytes")


def _header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    for key, value in headers:
        if key == name:
            return value.decode("latin-1")
    return None
