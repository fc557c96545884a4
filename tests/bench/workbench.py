"""What every benchmark gets: where to work, what to keep, how to say what it is doing."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.report import BenchmarkError


@dataclass(frozen=True, slots=True)
class Workbench:
    """`scratch` is empty and removed afterwards; `cache` outlives runs; `say` is for the user who waits."""

    scratch: Path
    cache: Path
    say: Callable[[str], None]


def stored_rows() -> int:
    """Rows of the large table: BENCH_ROWS, 10 million if it is not set."""
    text = os.environ.get("BENCH_ROWS", "10000000")
    if not text.isdecimal() or int(text) < 10_000:
        raise BenchmarkError(f"BENCH_ROWS must be a whole number of 10000 or more, not {text!r}")
    return int(text)
