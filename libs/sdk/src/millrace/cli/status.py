"""`millrace status`: is everything there, and does the lake keep up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from millrace.cli.metrics_text import values
from millrace.cli.options import Data, PortOffset, installation
from millrace.installation import PORTS, PROCESS_PORTS, Installation, Name

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 5.0

# Records that a process has read no further than; a door with a lake writer in the same process has it too.
_UNREAD = "millrace_lag_records"
# The relay's: lines that Kafka does not hold, and what lake writers, running or not, have left there.
_UNRELAYED = "millrace_relay_lag_lines"
_UNLANDED = "millrace_unlanded_records"


def status(
    data: Data = None,
    port_offset: PortOffset = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, every partition in it.")] = False,
) -> None:
    """Show every service's health and lag; exit 1 if one is not ready."""
    import asyncio

    target = installation(data, port_offset)
    reports = _shown(asyncio.run(_ask_all(target)))
    if as_json:
        _write_json(reports)
    else:
        _show(reports)
    if not any(report.answers for report in reports):
        typer.echo("Nothing runs here: start Millrace with `millrace up`.", err=True)
    raise typer.Exit(0 if all(report.ready for report in reports) else 1)


@dataclass(frozen=True, slots=True)
class _Report:
    name: Name
    url: str
    answers: bool
    ready: bool
    # Why not ready; empty when it is.
    why: str
    metrics: str = ""
    # What waits in each partition; None where nothing can, or nobody knows.
    lag: Mapping[str, int] | None = None

    @property
    def state(self) -> str:
        if self.ready:
            return "ready"
        return "not ready" if self.answers else "down"


async def _ask_all(target: Installation) -> list[_Report]:
    import asyncio

    import httpx

    async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as http:
        return await asyncio.gather(*(_ask(http, target, name) for name in (*PORTS, *PROCESS_PORTS)))


async def _ask(http: "httpx.AsyncClient", target: Installation, name: Name) -> _Report:
    import httpx

    url = target.management_url(name)
    try:
        ready = await http.get(f"{url}/ready")
        metrics = await http.get(f"{url}/metrics")
    except httpx.HTTPError as error:
        why = "no answer" if isinstance(error, httpx.ConnectError) else type(error).__name__
        return _Report(name, url, False, False, why)
    healthy = ready.status_code == httpx.codes.OK
    return _Report(name, url, True, healthy, "" if healthy else _why(ready), metrics.text)


def _shown(asked: Sequence[_Report]) -> list[_Report]:
    """What belongs to this installation, each with its lag.

    Where a lake writer works in the door's process, there are no others; a door without one needs them all.
    """
    found = {report.name: report for report in asked}
    door, relay = found["ingest-service"], found["relay"]
    alone = not door.answers or values(door.metrics, _UNREAD, "partition") is not None
    lag = {name: values(report.metrics, _UNREAD, "partition") for name, report in found.items()}
    lag["relay"] = values(relay.metrics, _UNRELAYED, "partition")
    # Kafka's own word counts all lake writers, and one that does not run.
    lag["lake-writer"] = values(relay.metrics, _UNLANDED, "partition") or lag["lake-writer"]
    return [
        replace(report, lag=lag[name])
        for name, report in found.items()
        if name in PORTS or report.answers or not alone
    ]


def _why(answer: "httpx.Response") -> str:
    """The checks that fail, from the body of `/ready`."""
    try:
        checks = answer.json()["checks"].items()
    except (ValueError, KeyError, AttributeError, TypeError):
        return f"status {answer.status_code}"
    return (
        "; ".join(f"{name}: {text}" for name, text in checks if text != "ok")
        or f"status {answer.status_code}"
    )


def _write_json(reports: Sequence[_Report]) -> None:
    import msgspec

    services = [
        {
            "name": report.name,
            "state": report.state,
            "why": report.why,
            "management": report.url,
            "lag": None if report.lag is None else sum(report.lag.values()),
            "partitions": report.lag,
        }
        for report in reports
    ]
    typer.echo(msgspec.json.format(msgspec.json.encode({"services": services}), indent=2))


def _show(reports: Sequence[_Report]) -> None:
    from rich.console import Console
    from rich.table import Table

    colours = {"ready": "green", "not ready": "yellow", "down": "red"}
    table = Table()
    for title in ("service", "state", "lag", "management", "why"):
        table.add_column(title, justify="right" if title == "lag" else "left", overflow="fold")
    for report in reports:
        lag = "" if report.lag is None else f"{sum(report.lag.values()):,}"
        table.add_row(report.name, f"[{colours[report.state]}]{report.state}[/]", lag, report.url, report.why)
    console = Console()
    console.print(table)
    waiting = [
        (report.name, partition, lag)
        for report in reports
        for partition, lag in sorted((report.lag or {}).items(), key=_in_order)
        if lag
    ]
    if not waiting:
        return
    partitions = Table()
    for title in ("waits for", "partition", "lag"):
        partitions.add_column(title, justify="right" if title == "lag" else "left", overflow="fold")
    for name, partition, count in waiting:
        partitions.add_row(name, partition, f"{count:,}")
    console.print(partitions)


def _in_order(entry: tuple[str, int]) -> tuple[str, str]:
    """By topic id and number, or by door and day."""
    first, _, last = entry[0].rpartition("/")
    return first, last.rjust(10)
