"""Failures of gRPC methods: status and trailers for the caller, the rest for the logs.

Methods are wrapped once, when a service registers them, and not by an interceptor, which would build
a new handler for every call.
"""

from __future__ import annotations  # the stubs' generic classes are not generic at run time

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, nullcontext
from typing import Any, NoReturn, cast

import grpc
from grpc.aio import AbortError, ServicerContext

from millrace_runtime.edge import request_id_from
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.logs import get_logger, request_id
from millrace_runtime.tracing import Span, Tracer
from millrace_runtime.tracing.traceparent import HEADER as TRACEPARENT

log = get_logger(__name__)

ERROR_CODE_TRAILER = "idgen-error-code"
REQUEST_ID_METADATA = "x-request-id"

_STATUS = "rpc.response.status_code"

Context = ServicerContext[Any, Any]
Single = Callable[[Any, Context], Awaitable[Any]]
Stream = Callable[[Any, Context], AsyncGenerator[Any, None]]


class TranslatingRegistrar:
    """Stands in for a `grpc.aio.Server` while services register, and wraps what they register.

    With a `tracer` each call of theirs that is sampled becomes a span; any other call pays for that decision only.
    """

    def __init__(self, server: grpc.aio.Server, tracer: Tracer | None = None) -> None:
        self._server: Any = server  # its type stubs lack the second method
        self._tracer = tracer

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler[Any, Any]]) -> None:
        """Register the handlers, their methods wrapped."""
        self._server.add_generic_rpc_handlers(
            tuple(_Translating(handler, self._tracer) for handler in handlers)
        )

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        """Register the methods of a service by name: the way that generated code takes besides."""
        wrapped = {
            name: _wrap(f"/{service}/{name}", handler, self._tracer) for name, handler in handlers.items()
        }
        self._server.add_registered_method_handlers(service, wrapped)


class _Translating(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    def __init__(self, inner: grpc.GenericRpcHandler[Any, Any], tracer: Tracer | None) -> None:
        self._inner = inner
        self._tracer = tracer
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = self._inner.service(handler_call_details)
            if handler is None:
                return None
            wrapped = self._wrapped[method] = _wrap(method, handler, self._tracer)
        return wrapped


def _wrap(method: str, handler: Any, tracer: Tracer | None) -> grpc.RpcMethodHandler[Any, Any]:
    make: Any
    if handler.response_streaming:
        inner = handler.stream_stream if handler.request_streaming else handler.unary_stream
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_stream_rpc_method_handler
        )
        behaviour: Any = _streaming(method, inner, tracer)
    else:
        inner = handler.stream_unary if handler.request_streaming else handler.unary_unary
        make = (
            grpc.stream_unary_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        behaviour = _single(method, inner, tracer)
    return cast(
        "grpc.RpcMethodHandler[Any, Any]",
        make(behaviour, handler.request_deserializer, handler.response_serializer),
    )


def _single(method: str, inner: Single, tracer: Tracer | None) -> Single:
    name = method.removeprefix("/")

    async def behaviour(request: Any, context: Context) -> Any:
        traceparent = _bind_request_id(context)
        try:
            if tracer is None or (span := tracer.begin(name, traceparent)) is None:
                return await inner(request, context)
            with _traced(span, name, context):
                return await inner(request, context)
        except Exception as error:
            await _fail(method, context, error)

    return behaviour


def _streaming(method: str, inner: Stream, tracer: Tracer | None) -> Stream:
    name = method.removeprefix("/")

    async def behaviour(request: Any, context: Context) -> AsyncGenerator[Any, None]:
        traceparent = _bind_request_id(context)
        span = None if tracer is None else tracer.begin(name, traceparent)
        try:
            with nullcontext() if span is None else _traced(span, name, context):
                async with aclosing(inner(request, context)) as responses:
                    async for response in responses:
                        yield response
        except Exception as error:
            await _fail(method, context, error)

    return behaviour


@contextmanager
def _traced(span: Span, name: str, context: Context) -> Iterator[None]:
    """The call within its span, which is told how the call ends."""
    with span:
        span.set("rpc.system.name", "grpc")
        span.set("rpc.method", name)
        try:
            yield
        except AbortError:
            span.set(_STATUS, _status_name(context.code()))
            span.end()
            raise
        except ServiceError as error:
            span.set(_STATUS, error.code.grpc)
            span.end(error.code.code if error.http_status >= 500 else None)
            raise
        span.set(_STATUS, "OK")


def _status_name(code: Any) -> str:
    """A status as grpc.aio's servers have it, by number, or as everybody else does."""
    return str(next((status.name for status in grpc.StatusCode if code in (status, status.value[0])), code))


def _bind_request_id(context: Context) -> str | None:
    """The `traceparent`, once the request id is bound. Every call has a task of its own, so that needs no reset."""
    sent = traceparent = None
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID_METADATA and isinstance(value, str):
            sent = value
        elif key == TRACEPARENT and isinstance(value, str):
            traceparent = value
    request_id.set(request_id_from(sent))
    return traceparent


async def _fail(method: str, context: Context, error: Exception) -> NoReturn:
    """End the call. `AbortError` is the method's own `context.abort` and passes unchanged."""
    if isinstance(error, AbortError):
        raise error
    if isinstance(error, NotImplementedError):
        # What generated code raises for a method that the servicer does not override.
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this method is not offered")
    if isinstance(error, ServiceError):
        shown = error
        if error.http_status >= 500:
            log.warning(
                "call_refused",
                method=method,
                code=error.code.code,
                reason=error.message,
                exc_info=error.__cause__,
            )
    else:
        log.error("call_failed", method=method, exc_info=error)
        shown = ServiceError(ErrorCode.INTERNAL, "internal error; the logs have it under the request id")
    trailers = ((ERROR_CODE_TRAILER, shown.code.code), (REQUEST_ID_METADATA, request_id.get()))
    await context.abort(grpc.StatusCode[shown.code.grpc], shown.message, trailers)
    raise AssertionError("abort returns never")
