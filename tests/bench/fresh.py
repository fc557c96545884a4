"""fresh: how long after its 200 a message is found by a query, while 2,000 a second come in."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tests.bench.installation import Up, up, wait_for_count
from tests.bench.payloads import FIRST_DAY, FIRST_ID, messages, write_lines
from tests.bench.processes import ROOT
from tests.bench.report import BenchmarkError, Result, Target
from tests.bench.workbench import Workbench

from millrace import Client

PER_SECOND = 2_000
SECONDS = 20
WARM_UP_S = 2
CONNECTIONS = 16
POLL_S = 0.03

Times = npt.NDArray[np.int64]


def run(bench: Workbench) -> list[Result]:
    """One installation under a steady load, counted over and over by a query that reads the rows."""
    bodies = bench.scratch / "bodies.jsonl"
    answers = bench.scratch / "answers"
    write_lines(bodies, messages(PER_SECOND * SECONDS))
    with up(bench.scratch / "data") as installed, installed.client() as client:
        bench.say(f"{PER_SECOND} messages a second for {SECONDS} s")
        polls = poll_while_loading(installed, client, bodies, answers)
        wait_for_count(installed, client, FIRST_DAY, PER_SECOND * SECONDS)
        polls.append((time.monotonic_ns(), PER_SECOND * SECONDS))
        rows = client.search_arrow(FIRST_DAY, FIRST_DAY, columns=["msg_id", "src_file", "src_line"])
    numbers, accepted_ns = np.fromfile(answers, np.int64).reshape(2, -1)
    if len(numbers) != rows.num_rows:
        raise BenchmarkError(f"{len(numbers)} messages accepted, {rows.num_rows} queryable")
    visible_ns = _visible_ns(rows, np.array(polls, np.int64))
    delays_ms = (visible_ns[numbers] - accepted_ns) / 1e6
    steady = delays_ms[accepted_ns > accepted_ns.min() + WARM_UP_S * 10**9]
    gaps_ms = np.diff([at for at, _ in polls]) / 1e6
    return [
        Result("p50_ms", float(np.percentile(steady, 50)), "ms"),
        Result("p99_ms", float(np.percentile(steady, 99)), "ms", Target("<=", 1_000)),
        Result("max_ms", float(delays_ms.max()), "ms"),
        Result("accepted_per_s", len(numbers) / (float(np.ptp(accepted_ns)) / 1e9), "1/s"),
        Result("poll_every_ms", float(np.median(gaps_ms)), "ms"),
    ]


def poll_while_loading(installed: Up, client: Client, bodies: Path, answers: Path) -> list[tuple[int, int]]:
    """Counts the day's messages until the load generator ends: (when the answer was there, the count)."""
    generator = subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.bench.load", "--port", str(installed.door_port)),
            *("--bodies", str(bodies), "--answers", str(answers)),
            *("--rate", str(PER_SECOND), "--connections", str(CONNECTIONS)),
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    polls: list[tuple[int, int]] = []
    while generator.poll() is None:
        installed.process.check()
        # A filter that every row meets: without one the count would come from the log alone.
        count = client.count(FIRST_DAY, FIRST_DAY, notify_type=1010)
        polls.append((time.monotonic_ns(), count))
        time.sleep(POLL_S)
    if generator.returncode:
        raise BenchmarkError(f"the load generator ended with {generator.returncode}")
    return polls


def _visible_ns(rows: pa.Table, polls: Times) -> Times:
    """When each message was found, by its number.

    Lines land in the order of the journals, so a count of n shows the first n lines.
    """
    order = np.lexsort([rows.column("src_line").to_numpy(), rows.column("src_file").to_numpy()])
    numbers = np.array([int(text) - FIRST_ID for text in rows.column("msg_id").to_pylist()])[order]
    times, counts = polls[:, 0], np.maximum.accumulate(polls[:, 1])
    visible = np.empty(len(numbers), np.int64)
    visible[numbers] = times[np.searchsorted(counts, np.arange(1, len(numbers) + 1))]
    return visible
