"""The header `traceparent` of the W3C Trace Context recommendation."""

import re
from typing import NamedTuple

HEADER = "traceparent"

_LONGEST = 512  # of a later version; this one has 55
_FORM = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_SAMPLED = 1


class Parent(NamedTuple):
    """Whose child a span is. `sampled`: its trace is recorded."""

    trace_id: int
    span_id: int
    sampled: bool


def parse(text: str) -> Parent | None:
    """The parent that the header names; None for one that is malformed, which counts as none at all."""
    found = _FORM.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None or (found[1] == "00" and found[5] is not None):
        return None
    trace_id, span_id = int(found[2], 16), int(found[3], 16)
    return Parent(trace_id, span_id, bool(int(found[4], 16) & _SAMPLED)) if trace_id and span_id else None


def written(trace_id: int, span_id: int) -> str:
    """The header of a sampled span, 55 characters."""
    return f"00-{trace_id:032x}-{span_id:016x}-01"
