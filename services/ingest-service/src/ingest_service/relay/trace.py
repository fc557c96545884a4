"""The relay's step in the traces of sampled lines: from reading a line to Kafka's acknowledgement."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

from millrace_ports.bus.port import Chunk, Partition
from millrace_runtime.tracing import Span, Tracer

MOST_SPANS: Final = 256
"""Spans of one batch: with everything sampled, a catch-up would be spent on them. Further lines keep their context."""


def follow(
    tracer: Tracer, chunks: Sequence[Chunk], epochs: Mapping[Partition, int]
) -> tuple[list[Chunk], list[Span]]:
    """Begin a span for each line that is followed; the chunks tell the contexts of these from now on.

    `epochs` gives the epoch of each chunk's partition. A line that is read again, after a crash or because it could
    not be published, gets another span in the same trace.
    """
    spans: list[Span] = []
    return [_followed(tracer, chunk, epochs[chunk.partition], spans) for chunk in chunks], spans


def _followed(tracer: Tracer, chunk: Chunk, epoch: int, spans: list[Span]) -> Chunk:
    if not chunk.traceparents:
        return chunk
    journal = f"{chunk.partition.name}#{epoch}" if epoch else chunk.partition.name
    told = dict(chunk.traceparents)
    for line, traceparent in chunk.traceparents.items():
        if len(spans) == MOST_SPANS:
            break
        attributes = {
            "messaging.system": "kafka",
            "messaging.destination.name": chunk.partition.topic,
            "millrace.origin": f"{journal}/{line}/0",
        }
        span = tracer.follow(f"relay {chunk.partition.topic}", "producer", traceparent, attributes)
        if span is not None:
            spans.append(span)
            told[line] = span.traceparent
    return dataclasses.replace(chunk, traceparents=told)
