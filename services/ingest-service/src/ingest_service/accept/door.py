"""The webhook door: two routes, as a handler of granian's RSGI (`LAKE-10`..`LAKE-18`)."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from ingest_service.accept.condition import Condition
from ingest_service.accept.guard import Guard
from ingest_service.accept.intake import Accepted, Intake, Outcome
from ingest_service.accept.request_ids import RequestIds
from ingest_service.accept.request_log import Headers, RequestLog, RequestRecord
from ingest_service.accept.signature import NotSigned
from millrace_ports.errors import PortError
from millrace_runtime.clock import Clock
from millrace_runtime.errors import ErrorCode, ServiceError, error_body
from millrace_runtime.logs import get_logger
from millrace_runtime.metrics import Metrics
from millrace_runtime.tracing import Span, Tracer

log = get_logger(__name__)

_JSON = [("content-type", "application/json")]
_READ_OFF_BYTES = 16 * 1024 * 1024
_READ_OFF_S = 2.0
_encode = msgspec.json.Encoder().encode


class RequestHeaders(Headers, Protocol):
    """Headers of an RSGI request."""

    def get(self, name: str) -> str | None:
        """First value of a header, by its lower-case name."""
        ...


class Scope(Protocol):
    """What RSGI tells about a request."""

    proto: str
    method: str
    path: str
    client: str
    headers: RequestHeaders


class Exchange(Protocol):
    """The body and the answer of an RSGI request."""

    def __call__(self) -> Awaitable[bytes]:
        """The whole body."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body in pieces."""
        ...

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Send the answer."""
        ...

    def response_str(self, status: int, headers: list[tuple[str, str]], body: str) -> None:
        """Send the answer."""
        ...


class _BodyTooLargeError(Exception):
    """More than the configured limit."""


class _SenderGoneError(Exception):
    """The connection ended before the body did: nobody to answer and nothing whole to keep."""


@dataclass(frozen=True, slots=True)
class DoorOptions:
    """What can be set about the door; `max_body_bytes` None means no limit."""

    webhook_path: str = "/webhook/wechat"
    health_path: str = "/health"
    version: str = "1.0.0"
    max_body_bytes: int | None = None


async def _read_off(scope: Scope, exchange: Exchange) -> None:
    """Read and drop more of a body that is refused, within bounds: closing a connection with unread bytes
    resets it, and a sender that is still sending would lose the answer. One that asked first is told first."""
    if scope.headers.get("expect") is not None:
        return
    dropped = 0
    with suppress(Exception):  # a sender that is gone has no use for the answer either
        async with asyncio.timeout(_READ_OFF_S):
            async for piece in exchange:
                dropped += len(piece)
                if dropped > _READ_OFF_BYTES:
                    return


class Door:
    """The RSGI application. Lives in one event loop; disk and locks are the intake's threads' business."""

    def __init__(
        self,
        options: DoorOptions,
        intake: Intake,
        condition: Condition,
        request_log: RequestLog,
        metrics: Metrics,
        clock: Clock,
        tracer: Tracer | None = None,
        guards: Mapping[str, Guard | None] | None = None,
    ) -> None:
        """`guards`: what stands before the route of each source; the webhook's own is open unless it is one."""
        self._options = options
        self._guards: dict[str, Guard | None] = {options.webhook_path: None, **(guards or {})}
        self._intake = intake
        self._condition = condition
        self._request_log = request_log
        self._clock = clock
        self._tracer = tracer
        self._refused = metrics.counter("millrace_refused")
        self._failed = metrics.counter("millrace_failed")
        self._unsigned = metrics.counter("millrace_unsigned")
        self._replayed = metrics.counter("millrace_replayed")
        self._healthy = metrics.gauge("millrace_door_healthy")
        self._ids = RequestIds()
        self._started = clock.monotonic()
        self._stored = 0

    async def __rsgi__(self, scope: Scope, exchange: Exchange) -> None:
        """Answer one request."""
        path, method = scope.path, scope.method
        if path in self._guards:
            if method == "POST":
                if self._tracer is not None and (
                    span := self._tracer.begin(f"POST {path}", scope.headers.get("traceparent"))
                ):
                    await self._receive_traced(span, scope, exchange)
                else:
                    await self._receive(scope, exchange)
            else:
                self._refuse(exchange, 405, ErrorCode.INVALID_REQUEST, "use POST", ("allow", "POST"))
        elif path == self._options.health_path:
            if method == "GET":
                await self._tell_health(exchange)
            else:
                self._refuse(exchange, 405, ErrorCode.INVALID_REQUEST, "use GET", ("allow", "GET"))
        else:
            self._refuse(exchange, 404, ErrorCode.NOT_FOUND, "no such path")

    async def _receive_traced(self, span: Span, scope: Scope, exchange: Exchange) -> None:
        with span:
            status = await self._receive(scope, exchange)
            span.set("http.request.method", "POST")
            span.set("http.route", scope.path)
            if status is None:
                span.end("sender_gone")
                return
            span.set("http.response.status_code", status)
            if status >= 500:
                span.end(str(status))

    async def _receive(self, scope: Scope, exchange: Exchange) -> int | None:
        """The status of the answer, None when there was nobody to answer."""
        started = time.perf_counter()
        request_id = self._ids.next()
        client_ip = scope.client.rpartition(":")[0].strip("[]") or None
        content_type = scope.headers.get("content-type")
        body, parse_error = b"", None
        outcome: Outcome | None
        try:
            body = await self._body(scope, exchange)
            if (guard := self._guards[scope.path]) is None:
                outcome = await self._intake.take(body, request_id, client_ip, content_type)
            else:
                outcome = await self._guarded(guard, scope, body, request_id, client_ip, content_type)
        except NotSigned as refusal:
            status, parse_error = 401, f"signature: {refusal}"
            self._unsigned.inc()
            self._refuse(
                exchange,
                status,
                ErrorCode.UNAUTHORIZED,
                parse_error,
                ("www-authenticate", "Signature"),
                request_id=request_id,
            )
        except _SenderGoneError:
            log.info("sender_gone", request_id=request_id, client_ip=client_ip)
            return None
        except _BodyTooLargeError:
            status = 413
            limit = f"the body is larger than {self._options.max_body_bytes} bytes"
            await _read_off(scope, exchange)
            # The rest of the body may not have been read, so nothing can follow it on this connection.
            close = ("connection", "close")
            self._refuse(exchange, status, ErrorCode.PAYLOAD_TOO_LARGE, limit, close, request_id=request_id)
        except PortError as error:
            status = 503
            self._refused.inc()
            log.warning("payload_not_stored", request_id=request_id, cause=str(error))
            answer = {"status": "error", "message": "Storage unavailable", "request_id": request_id}
            exchange.response_bytes(status, _JSON, _encode(answer))
        except Exception as error:
            # Nothing that a body does may end the service (`LAKE-12`); the sender is told, and repeats.
            status = 500
            self._failed.inc()
            log.exception("payload_failed", request_id=request_id)
            kind = type(error).__name__
            answer = {"status": "error", "message": "Internal server error", "error_type": kind}
            exchange.response_bytes(status, _JSON, _encode(answer))
        else:
            status = 200
            self._stored += 1
            exchange.response_str(200, _JSON, f'{{"status":"ok","request_id":"{request_id}"}}')
            if outcome is None:
                parse_error = "replayed: stored already"
            elif not isinstance(outcome, Accepted):
                parse_error = f"{outcome.reason}: {outcome.message}"
        self._request_log.add(
            RequestRecord(
                request_id,
                self._clock.now_ms(),
                client_ip,
                scope.method,
                scope.path,
                scope.headers,
                len(body),
                content_type,
                parse_error,
                status,
                (time.perf_counter() - started) * 1000,
            )
        )
        return status

    async def _guarded(
        self,
        guard: Guard,
        scope: Scope,
        body: bytes,
        request_id: str,
        client_ip: str | None,
        content_type: str | None,
    ) -> Outcome | None:
        """As the intake; None for a request that is stored already. Raises NotSigned, and then nothing is stored."""
        now_s = self._clock.now_ms() // 1000
        signed = await guard.check(scope.headers.get, body, now_s)
        if guard.stored(signed):
            # True for the sender, who may not have had the first answer, and of no use to whoever recorded it.
            self._replayed.inc()
            return None
        outcome = await self._intake.take(body, request_id, client_ip, content_type)
        guard.remember(signed, now_s)
        return outcome

    async def _body(self, scope: Scope, exchange: Exchange) -> bytes:
        limit = self._options.max_body_bytes
        try:
            if limit is None:
                return await exchange()
            announced = scope.headers.get("content-length") or ""
            if announced.isdecimal() and int(announced[:19]) > limit:
                raise _BodyTooLargeError
            pieces, size = [], 0
            async for piece in exchange:
                size += len(piece)
                if size > limit:
                    raise _BodyTooLargeError
                pieces.append(bytes(piece))
            return b"".join(pieces)
        except _BodyTooLargeError:
            raise
        except Exception as error:
            raise _SenderGoneError from error

    async def _tell_health(self, exchange: Exchange) -> None:
        state = await self._condition.state()
        healthy = state.error is None
        self._healthy.set(healthy)
        answer: dict[str, Any] = {
            "status": "healthy" if healthy else "unhealthy",
            "version": self._options.version,
            "uptime_seconds": int(self._clock.monotonic() - self._started),
            "message_count": self._stored,
            "log_writable": state.log_error is None,
            "journal_writable": state.journal_error is None,
            "error": state.error,
        }
        exchange.response_bytes(200 if healthy else 503, _JSON, _encode(answer))

    def _refuse(
        self,
        exchange: Exchange,
        status: int,
        code: ErrorCode,
        message: str,
        *headers: tuple[str, str],
        request_id: str = "",
    ) -> None:
        """Answer by the body of ID-54, which everything has that the LAKE sheet does not fix."""
        request_id = request_id or self._ids.next()
        error = ServiceError(code, message, http_status=status)
        answer = error_body(error, request_id=request_id, now=self._clock.now())
        exchange.response_bytes(status, [*_JSON, ("x-request-id", request_id), *headers], _encode(answer))
