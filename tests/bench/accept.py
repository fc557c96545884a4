"""accept: how many webhooks a second the door makes durable and answers, and how fast."""

from pathlib import Path
from typing import Any

from tests.bench.payloads import exactly, write_lines
from tests.bench.processes import ROOT, Running, measured, running, wait_until_ready
from tests.bench.report import Alternative, BenchmarkError, Result, Target
from tests.bench.workbench import Workbench

from millrace.installation import PORTS
from millrace_testkit.ports import free_offset

CONNECTIONS = 64
BODY_BYTES = 700
WARM_UP_S = 2.0
SECONDS = 12.0
ALTERNATIVE_SECONDS = 8.0


def run(bench: Workbench) -> list[Result]:
    """The real door process, then a FastAPI endpoint that fsyncs each request, under the same load."""
    bodies = bench.scratch / "bodies.jsonl"
    write_lines(bodies, exactly(BODY_BYTES, 2_000))
    bench.say("the door")
    ours = _door(bench, bodies)
    bench.say("FastAPI, one fsync a request")
    theirs = _fastapi(bench, bodies)

    def against(metric: str) -> Alternative:
        return Alternative("FastAPI, fsync per request", theirs[metric])

    return [
        Result("accepted_per_s", ours["per_s"], "1/s", Target(">=", 15_000), against("per_s")),
        Result("p50_ms", ours["p50_ms"], "ms", None, against("p50_ms")),
        Result("p99_ms", ours["p99_ms"], "ms", Target("<", 15), against("p99_ms")),
        Result("load_generator_cpu", ours["cpu_percent"], "% of a core"),
        Result("door_cpu", ours["server_percent"], "% of a core"),
    ]


def _door(bench: Workbench, bodies: Path) -> dict[str, Any]:
    data = bench.scratch / "door"
    offset = free_offset()
    ports = PORTS["ingest-service"]
    settings = {
        "MILLRACE_BUS": f"journal:{data}",
        "MILLRACE_PORT_OFFSET": offset,
        "MILLRACE_WEBHOOK_HOST": "127.0.0.1",
    }
    with running(["-m", "ingest_service.processes.webhook"], bench.scratch / "door.log", settings) as door:
        wait_until_ready(door, [f"http://127.0.0.1:{ports.management + offset}/ready"])
        found = _load(door, ports.http + offset, bodies, SECONDS)
    lines = sum(_lines(path) for path in (data / "messages" / "raw").glob("*.jsonl"))
    _verify(found, lines)
    return found


def _fastapi(bench: Workbench, bodies: Path) -> dict[str, Any]:
    journal = bench.scratch / "alternative.jsonl"
    port = PORTS["ingest-service"].http + free_offset()
    script = str(ROOT / "tests" / "bench" / "accept_alternative.py")
    with running([script, str(journal), str(port)], bench.scratch / "alternative.log") as server:
        wait_until_ready(server, [f"http://127.0.0.1:{port}/openapi.json"])
        found = _load(server, port, bodies, ALTERNATIVE_SECONDS)
    _verify(found, _lines(journal))
    return found


def _load(server: Running, port: int, bodies: Path, seconds: float) -> dict[str, Any]:
    cpu_s = server.cpu_s()
    found = measured(
        [
            *("-m", "tests.bench.load", "--port", str(port), "--bodies", str(bodies)),
            *("--connections", str(CONNECTIONS), "--seconds", str(seconds), "--warm-up", str(WARM_UP_S)),
        ]
    )
    return found | {"server_percent": 100 * (server.cpu_s() - cpu_s) / seconds}


def _verify(found: dict[str, Any], lines: int) -> None:
    if found["refused"] or found["answered"] != lines:
        raise BenchmarkError(
            f"{found['answered']} answers, {found['refused']} of them refusals, and {lines} lines in the journal"
        )


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
