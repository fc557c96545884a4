"""What a benchmark found: results with targets and alternatives, as a table and as JSON."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from rich.console import Console
from rich.table import Table


class BenchmarkError(Exception):
    """What was measured is not what it should be: rows are missing, a process died, an answer is wrong."""


@dataclasses.dataclass(frozen=True, slots=True)
class Alternative:
    """The other way to do it, measured in the same run, in the unit of the result."""

    name: str
    value: float


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """A bound on the value, or on its ratio to the alternative's."""

    sign: Literal["<", "<=", ">="]
    bound: float
    of: Literal["value", "ratio"] = "value"

    def __str__(self) -> str:
        prefix = "ratio " if self.of == "ratio" else ""
        return f"{prefix}{self.sign} {self.bound:,g}"

    def met(self, value: float) -> bool:
        """Whether `value` keeps the bound."""
        match self.sign:
            case "<":
                return value < self.bound
            case "<=":
                return value <= self.bound
            case ">=":
                return value >= self.bound


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """One figure. A metric with two alternatives is two results."""

    metric: str
    value: float
    unit: str
    target: Target | None = None
    alternative: Alternative | None = None

    @property
    def ratio(self) -> float | None:
        """value / the alternative's value."""
        return self.value / self.alternative.value if self.alternative else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target."""
        if self.target is None:
            return None
        measured = self.ratio if self.target.of == "ratio" else self.value
        return measured is not None and self.target.met(measured)

    def record(self) -> dict[str, Any]:
        """The result as it is written."""
        return {
            "metric": self.metric,
            "value": round(self.value, 3),
            "unit": self.unit,
            "target": None if self.target is None else str(self.target),
            "alternative": None if self.alternative is None else dataclasses.asdict(self.alternative),
            "ratio": None if self.ratio is None else round(self.ratio, 4),
        }


def write(path: Path, name: str, machine: Mapping[str, Any], results: Sequence[Result]) -> None:
    """`{"name", "machine", "results"}`, see README.md."""
    record = {"name": name, "machine": dict(machine), "results": [result.record() for result in results]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")


def show(console: Console, name: str, results: Sequence[Result]) -> None:
    """One row a result; a missed target is red."""
    table = Table(title=name, title_justify="left", title_style="bold")
    table.add_column("metric")
    for column in ("value", "unit", "target", "alternative", "ratio"):
        table.add_column(column, justify="left" if column in ("unit", "alternative") else "right")
    for result in results:
        style = {True: "green", False: "red", None: ""}[result.met]
        other = result.alternative
        table.add_row(
            result.metric,
            f"[{style}]{_number(result.value)}[/]" if style else _number(result.value),
            result.unit,
            "" if result.target is None else str(result.target),
            "" if other is None else f"{other.name}: {_number(other.value)}",
            "" if result.ratio is None else _number(result.ratio),
        )
    console.print(table)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.3g}"
