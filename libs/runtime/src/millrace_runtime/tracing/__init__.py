"""Traces and metrics by OTLP, off unless an endpoint is set.

A request is sampled where it comes in (`Tracer.begin`), and what is not sampled costs that decision alone. What is
sampled carries a W3C `traceparent` along, by which the next process goes on (`Tracer.follow`). OpenTelemetry is
imported when an endpoint is set, and not before.
"""

from millrace_runtime.tracing.exporting import exporting, metrics_of, tracer
from millrace_runtime.tracing.settings import TracingSettings
from millrace_runtime.tracing.spans import Kind, Span, Tracer, current

__all__ = ["Kind", "Span", "Tracer", "TracingSettings", "current", "exporting", "metrics_of", "tracer"]
