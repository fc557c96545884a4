"""idle: how soon the embedded process is ready, and how large it is before and after work."""

import time

from tests.bench.installation import up, wait_for_count
from tests.bench.payloads import FIRST_DAY, messages, write_lines
from tests.bench.processes import measured
from tests.bench.report import BenchmarkError, Result, Target
from tests.bench.workbench import Workbench

MESSAGES = 100_000
SETTLE_S = 5.0


def run(bench: Workbench) -> list[Result]:
    """`millrace up --no-sample` on an empty directory, 100,000 messages through it, and a second start."""
    data = bench.scratch / "data"
    bodies = bench.scratch / "bodies.jsonl"
    write_lines(bodies, messages(MESSAGES))
    bench.say("first start")
    with up(data) as first, first.client() as client:
        time.sleep(SETTLE_S)
        idle_mb = first.process.rss_mb()
        bench.say(f"{MESSAGES:,} messages")
        load = measured(["-m", "tests.bench.load", "--port", str(first.door_port), "--bodies", str(bodies)])
        if load["refused"] or load["answered"] != MESSAGES:
            raise BenchmarkError(f"{load['answered']} answers, {load['refused']} of them refusals")
        wait_for_count(first, client, FIRST_DAY, MESSAGES)
        loaded_mb, peak_mb = first.process.rss_mb(), first.process.peak_mb()
        time.sleep(SETTLE_S)
        settled_mb = first.process.rss_mb()
    bench.say("second start")
    with up(data) as second, second.client() as client:
        wait_for_count(second, client, FIRST_DAY, MESSAGES)
    return [
        Result("ready_s", first.ready_s, "s", Target("<", 5)),
        Result("idle_mb", idle_mb, "MB", Target("<", 300)),
        Result("loaded_mb", loaded_mb, "MB", Target("<", 800)),
        Result("loaded_peak_mb", peak_mb, "MB"),
        Result("loaded_settled_mb", settled_mb, "MB"),
        Result("ready_cpu_s", first.ready_cpu_s, "s"),
        Result("second_ready_s", second.ready_s, "s"),
        Result("load_generator_cpu", load["cpu_percent"], "% of a core"),
    ]
