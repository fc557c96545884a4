"""`python -m tests.bench [--only NAME]`: see README.md."""

import argparse
import importlib
import os
import shutil
import sys
import time

from rich.console import Console
from tests.bench import machine, report
from tests.bench.processes import ROOT
from tests.bench.workbench import Workbench

NAMES = ("accept", "land", "dedup", "fresh", "query", "idle", "relay", "land-kafka", "fresh-real", "rpc")
OUTPUT = ROOT / "build" / "bench"


def main() -> int:
    """Run the benchmarks one after the other; 1 when one could not be measured or its result is wrong."""
    parser = argparse.ArgumentParser(prog="bench", description="Benchmarks of Millrace.")
    parser.add_argument("--only", choices=NAMES, help="one benchmark; all without it")
    only = parser.parse_args().only
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for name, value in machine.facts(OUTPUT).items():
        console.print(f"[dim]{name:>13}[/]  {value}")
    failed = [name for name in ([only] if only else NAMES) if not _measure(name, console)]
    if failed:
        console.print(f"[red]not measured: {', '.join(failed)}[/]")
    return 1 if failed else 0


def _measure(name: str, console: Console) -> bool:
    scratch = OUTPUT / f"scratch-{name}-{os.getpid()}"
    scratch.mkdir()
    before = machine.facts(OUTPUT)
    started = time.monotonic()
    try:
        with console.status(name) as status:
            bench = Workbench(scratch, OUTPUT / "data", lambda text: status.update(f"{name}: {text}"))
            results: list[report.Result] = importlib.import_module(_module(name)).run(bench)
    except report.BenchmarkError as error:
        console.print(f"{name}: {error}", style="red", markup=False)
        return False
    finally:
        shutil.rmtree(scratch)
    seconds = round(time.monotonic() - started, 1)
    after = machine.facts(OUTPUT)["load_average"]
    path = OUTPUT / f"{name}.json"
    report.write(path, name, before | {"load_average_after": after, "seconds": seconds}, results)
    report.show(console, name, results)
    load = f"load average {before['load_average'][0]} before, {after[0]} after"
    console.print(f"[dim]{seconds} s, {load}; {path.relative_to(ROOT)}[/]\n")
    return True


def _module(name: str) -> str:
    return f"tests.bench.{name.replace('-', '_')}"


if __name__ == "__main__":
    sys.exit(main())
