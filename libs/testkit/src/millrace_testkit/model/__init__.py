"""The reference model: what the lake must hold, told from the journals alone.

Slow, small and written from the requirement sheet with plain dicts and the standard library. It
shares no line with the ingest service: where the two disagree, one of them has misread the sheet.
"""

from __future__ import annotations

from millrace_testkit.model.compare import Sums, compare, sums
from millrace_testkit.model.expected import Expected, expect
from millrace_testkit.model.journals import Journal, Line, foreign_line, in_order, read_journal
from millrace_testkit.model.tables import read_rows

__all__ = [
    "Expected",
    "Journal",
    "Line",
    "Sums",
    "compare",
    "expect",
    "foreign_line",
    "in_order",
    "read_journal",
    "read_rows",
    "sums",
]
