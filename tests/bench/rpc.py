"""rpc: unary gRPC calls a second that one process answers, and how long they take."""

from dataclasses import dataclass

from tests.bench.processes import measured, running
from tests.bench.report import Alternative, BenchmarkError, Result, Target
from tests.bench.workbench import Workbench

from millrace_testkit.ports import free_port

ROUNDS = 3
CALLS = 20_000
EMPTY_NAME = "an empty grpc.aio handler"


@dataclass(frozen=True, slots=True)
class Way:
    """How a server is set up, what the metric's name gets for it, and which share of its calls is traced: none
    without tracing, None for the default one. `target`: whether it has to keep up with the empty handler."""

    server: str
    suffix: str
    traced: float | None = 0.0
    target: bool = True


EMPTY = Way("empty", "")
WAYS = (
    Way("plain", ""),
    Way("key", "_with_key"),
    Way("plain", "_with_tracing", None),
    Way("key", "_with_key_and_tracing", None),
    Way("key", "_with_key_and_all_traced", 1.0, target=False),
)


def run(bench: Workbench) -> list[Result]:
    """The same call to each server in turn, several rounds; the best round of each counts."""
    best: dict[Way, dict[str, float]] = {}
    sink = free_port()
    with running(["-m", "millrace_testkit.otlp", str(sink)], bench.scratch / "otlp.log"):
        for number in range(ROUNDS):
            for way in (EMPTY, *WAYS):
                bench.say(f"round {number + 1} of {ROUNDS}: {way.server}{way.suffix}")
                found = _measured(bench, way, number, sink)
                if way not in best or found["per_s"] > best[way]["per_s"]:
                    best[way] = found
    results = []
    for way in WAYS:
        per_s = Alternative(EMPTY_NAME, best[EMPTY]["per_s"])
        p99 = Alternative(EMPTY_NAME, best[EMPTY]["p99_ms"])
        target = Target(">=", 0.9, of="ratio") if way.target else None
        results += [
            Result(f"calls_per_s{way.suffix}", best[way]["per_s"], "1/s", target, per_s),
            Result(f"p99_ms{way.suffix}", best[way]["p99_ms"], "ms", None, p99),
        ]
    return results


def _measured(bench: Workbench, way: Way, number: int, sink: int) -> dict[str, float]:
    port = free_port()
    log = bench.scratch / f"{way.server}{way.suffix}-{number}.log"
    telemetry: dict[str, object] = {}
    if way.traced != 0:
        telemetry["MILLRACE_OTLP_ENDPOINT"] = f"http://127.0.0.1:{sink}"
    if way.traced:
        telemetry["MILLRACE_TRACE_SAMPLE_RATIO"] = way.traced
    with running(["-m", "tests.bench.rpc_server", way.server, str(port)], log, telemetry) as server:
        found = measured(["-m", "tests.bench.rpc_client", str(port), str(CALLS)])
        server.check()
    if found["answered"] != CALLS:
        raise BenchmarkError(f"{found['answered']} of {CALLS} calls were answered as they should be")
    return {"per_s": found["per_s"], "p99_ms": found["p99_ms"]}
