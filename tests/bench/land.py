"""land: how many messages a second the lake writer lands exactly once, and in how much memory."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from tests.bench.payloads import DAY_S, FIRST_ID, START_S, messages, mixed, write_lines
from tests.bench.processes import measured
from tests.bench.report import Alternative, BenchmarkError, Result, Target
from tests.bench.stored import rows_of
from tests.bench.workbench import Workbench

from ingest_service.land.settings import LakeWriterSettings

MESSAGES = 1_000_000
DAYS = 30
MIXED_LINES = 200_000
LOOP_NAME = "json.loads + write_deltalake, no dedup"


def run(bench: Workbench) -> list[Result]:
    """A month of day journals; the plain loop over the same; the sample's own mix in one journal."""
    month = bench.scratch / "month"
    bench.say(f"writing {MESSAGES:,} payloads")
    _month(month)
    bench.say("the lake writer")
    ours = _landed(month, MESSAGES, MESSAGES)
    bench.say("the plain loop")
    theirs = measured(["-m", "tests.bench.land_loop", str(month), str(_batch_rows())])
    if theirs["rows"] != MESSAGES:
        raise BenchmarkError(f"the plain loop landed {theirs['rows']} rows")
    bench.say("the lake writer, every kind of line")
    whole = _mixed(bench.scratch / "mixed")
    loop_per_s = MESSAGES / theirs["seconds"]
    per_s = Alternative(LOOP_NAME, loop_per_s)
    peak = Alternative(LOOP_NAME, theirs["peak_mb"])
    return [
        Result("messages_per_s", MESSAGES / ours["seconds"], "1/s", Target(">=", 60_000), per_s),
        Result("peak_mb", ours["peak_mb"], "MB", Target("<", 600), peak),
        Result("cpu", 100 * ours["cpu_s"] / ours["seconds"], "% of a core"),
        Result("mixed_lines_per_s", MIXED_LINES / whole["seconds"], "1/s"),
        Result("mixed_peak_mb", whole["peak_mb"], "MB"),
    ]


def _month(data: Path) -> None:
    """Journals of DAYS days, each with the messages of its day."""
    for number in range(DAYS):
        first, last = number * MESSAGES // DAYS, (number + 1) * MESSAGES // DAYS
        lines = messages(last - first, first_id=FIRST_ID + first, start_s=START_S + number * DAY_S)
        write_lines(data / "messages" / "raw" / f"{_day(number)}.jsonl", lines)


def _mixed(data: Path) -> dict[str, Any]:
    """The sample's lines over and over: contacts, batches and others among messages of all its days."""
    lines, held = mixed(MIXED_LINES)
    write_lines(data / "messages" / "raw" / f"{_day(DAYS)}.jsonl", lines)
    return _landed(data, MIXED_LINES, held)


def _landed(data: Path, lines: int, rows: int) -> dict[str, Any]:
    found = measured(["-m", "tests.bench.land_writer", str(data), str(lines)])
    table = DeltaTable(str(data / "parquet" / "messages"))
    stored, distinct = rows_of(table)
    if not stored == distinct == rows:
        raise BenchmarkError(f"{stored} rows, {distinct} of them distinct, of {rows}: {found['totals']}")
    return found


def _batch_rows() -> int:
    default: int = LakeWriterSettings.model_fields["land_max_rows"].default
    return default


def _day(number: int) -> str:
    return f"{datetime.fromtimestamp(START_S + number * DAY_S, UTC):%Y-%m-%d}"
