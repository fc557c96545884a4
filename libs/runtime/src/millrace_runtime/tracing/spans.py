"""Spans: the steps of what is sampled. Only here are OpenTelemetry's spans made."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from millrace_runtime.tracing.sampling import Sampler
from millrace_runtime.tracing.traceparent import Parent, parse, written

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OtelSpan

Kind = Literal["server", "producer", "consumer", "internal"]
Value = str | int | float | bool

current: ContextVar[Span | None] = ContextVar("millrace_span", default=None)
"""The span of the request being served; None where it is not sampled."""


class Span:
    """One step, until `end`. What is written into it leaves the installation: no keys, no content of messages.

    As a context manager it is `current` inside the block and ends with it, an exception's type being its error.
    """

    __slots__ = ("_ended", "_span", "_token", "_tracer", "traceparent")

    def __init__(self, tracer: Tracer, span: OtelSpan) -> None:
        self._tracer = tracer
        self._span = span
        self._ended = False
        context = span.get_span_context()
        self.traceparent = written(context.trace_id, context.span_id)

    def child(self, name: str, kind: Kind, *, start_ns: int | None = None) -> Span:
        """A step within this one; `start_ns` is Unix nanoseconds, now without."""
        context = self._span.get_span_context()
        return self._tracer.start(
            name,
            kind,
            Parent(context.trace_id, context.span_id, sampled=True),
            remote=False,
            start_ns=start_ns,
        )

    def rename(self, name: str) -> None:
        """Call it `name`."""
        self._span.update_name(name)

    def set(self, name: str, value: Value) -> None:
        """Add an attribute, or replace it."""
        self._span.set_attribute(name, value)

    def end(self, error: str | None = None, *, at_ns: int | None = None) -> None:
        """It is over, now or at `at_ns`, because of `error` when it failed; the first call counts."""
        if self._ended:
            return
        self._ended = True
        if error is not None:
            self._span.set_attribute("error.type", error)
            self._span.set_status(self._tracer.failed)
        self._span.end(at_ns)

    def __enter__(self) -> Self:
        self._token = current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        current.reset(self._token)
        self.end(None if kind is None else kind.__name__)


class Tracer:
    """Begins the spans of one service."""

    def __init__(self, provider: TracerProvider, sampler: Sampler) -> None:
        from opentelemetry.context import Context
        from opentelemetry.trace import (
            NonRecordingSpan,
            SpanContext,
            SpanKind,
            Status,
            StatusCode,
            TraceFlags,
            set_span_in_context,
        )

        nothing, sampled = Context(), TraceFlags(TraceFlags.SAMPLED)

        def context_of(parent: Parent | None, remote: bool) -> Context:
            if parent is None:
                return nothing
            above = SpanContext(parent.trace_id, parent.span_id, remote, sampled)
            return set_span_in_context(NonRecordingSpan(above), nothing)

        self._context_of = context_of
        self._otel = provider.get_tracer("millrace")
        self._sampler = sampler
        self._kinds = {
            "server": SpanKind.SERVER,
            "producer": SpanKind.PRODUCER,
            "consumer": SpanKind.CONSUMER,
            "internal": SpanKind.INTERNAL,
        }
        self.failed = Status(StatusCode.ERROR)

    def begin(self, name: str, traceparent: str | None) -> Span | None:
        """The span of a request with this header from outside, None when it is not sampled."""
        sampled, parent = self._sampler.decide(traceparent)
        return self.start(name, "server", parent) if sampled else None

    def follow(
        self,
        name: str,
        kind: Kind,
        traceparent: str,
        attributes: Mapping[str, Value] | None = None,
        *,
        trusted: bool = True,
    ) -> Span | None:
        """A further step of what `traceparent` names, None where that is not sampled.

        A header that is not `trusted`, since anybody may have written it, is followed as `begin` follows a caller.
        """
        parent = parse(traceparent)
        if parent is None or not parent.sampled or not (trusted or self._sampler.admits_caller()):
            return None
        return self.start(name, kind, parent, attributes=attributes)

    def start(
        self,
        name: str,
        kind: Kind,
        parent: Parent | None,
        *,
        remote: bool = True,
        attributes: Mapping[str, Value] | None = None,
        start_ns: int | None = None,
    ) -> Span:
        """A span that is recorded; without a parent, the first one of a trace. `remote`: the parent is elsewhere."""
        context = self._context_of(parent, remote)
        span = self._otel.start_span(name, context, self._kinds[kind], attributes, start_time=start_ns)
        return Span(self, span)
