"""Landing's steps in the traces of sampled records: from the poll that brought one to the commit that has it."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import Final

from ingest_service.land.batch import Span as Landed
from ingest_service.land.positions import is_journal
from millrace_ports.bus.port import Chunk, Partition
from millrace_runtime.tracing import Span, Tracer

MOST_SPANS: Final = 256
"""Records followed at a time: with everything sampled, landing would be spent on them."""


class LandingTraces:
    """The spans of sampled records that are read and not landed yet; those that are dropped are begun anew when
    they are read again."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._open: dict[Partition, dict[int, Span]] = {}

    def begin(self, chunks: Sequence[Chunk]) -> None:
        """These were read."""
        left = MOST_SPANS - sum(map(len, self._open.values()))
        for chunk in chunks:
            for number, traceparent in (chunk.traceparents or {}).items():
                if left <= 0:
                    return
                if (span := self._begun(chunk, number, traceparent)) is not None:
                    self._open.setdefault(chunk.partition, {})[number] = span
                    left -= 1

    def landed(self, records: Sequence[Landed], *, commit_began_ns: int, version: int, lines: int) -> None:
        """These are in the lake, as of `version` of the messages, by a commit of `lines` records."""
        if not self._open:
            return
        now_ns = time.time_ns()
        for landed in records:
            spans = self._open.get(landed.partition, {})
            for number in [number for number in spans if landed.start < number <= landed.end]:
                span = spans.pop(number)
                commit = span.child("commit lake", "internal", start_ns=commit_began_ns)
                commit.set("millrace.lake.version", version)
                commit.set("millrace.lines", lines)
                commit.end(at_ns=now_ns)
                span.end(at_ns=now_ns)
            if not spans:
                self._open.pop(landed.partition, None)

    def forget(self, partitions: Collection[Partition]) -> None:
        """What was read of these partitions was dropped."""
        for partition in partitions:
            self._open.pop(partition, None)

    def _begun(self, chunk: Chunk, number: int, traceparent: str) -> Span | None:
        origin = None if chunk.origins is None else chunk.origins[bisect_left(chunk.offsets, number)]
        name, topic = chunk.partition.name, chunk.partition.topic
        if origin is not None:
            text = f"{origin.door}/{origin.day}/{origin.line}/{origin.element}"
        else:
            text = f"{name}/{number}/0" if is_journal(chunk.partition) else f"{name}/{topic}/{number}/0"
        attributes = {
            "messaging.destination.name": topic,
            "messaging.destination.partition.id": name,
            "millrace.origin": text,
        }
        # What a producer that is no relay of ours writes is a caller's word.
        ours = origin is not None or is_journal(chunk.partition)
        return self._tracer.follow(f"land {topic}", "consumer", traceparent, attributes, trusted=ours)
