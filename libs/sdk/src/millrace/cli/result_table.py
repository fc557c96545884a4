"""A SQL result as rich shows it."""

from typing import Any

import msgspec
from rich import box
from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from millrace.sql import SqlResult

_LEAST = 12
_GAP = 2
_NUMBERS = ("INT", "DECIMAL", "DOUBLE", "FLOAT")
_JSON = msgspec.json.Encoder(decimal_format="number", enc_hook=str)


def table(result: SqlResult, available: int) -> Table | None:
    """One line a row, long texts cut; None when there is no room for the columns side by side."""
    cells = [[cell(value) for value in row] for row in result.rows]
    widths = [
        max([cell_len(name), *(line[at].cell_len for line in cells)])
        for at, name in enumerate(result.columns)
    ]
    least = [
        min(width, max(_LEAST, cell_len(name))) for width, name in zip(widths, result.columns, strict=True)
    ]
    if sum(least) + _GAP * len(least) > available:
        return None
    spare = available - sum(least) - _GAP * len(least)
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, _GAP, 0, 0))
    for name, kind, width, start in zip(result.columns, result.types, widths, least, strict=True):
        given = min(width, start + spare)
        spare -= given - start
        numeric = any(part in kind for part in _NUMBERS) and "[" not in kind and "(" not in kind[:1]
        shown.add_column(
            Text(name), no_wrap=True, overflow="ellipsis", width=given, justify="right" if numeric else "left"
        )
    for line in cells:
        shown.add_row(*line)
    return shown


def records(result: SqlResult) -> Group:
    """Each row as a list of its columns."""
    widest = max((cell_len(name) for name in result.columns), default=0)
    lines: list[Text] = []
    for number, row in enumerate(result.rows, 1):
        lines.append(Text(f"-[ row {number} ]-", style="bold"))
        for name, value in zip(result.columns, row, strict=True):
            lines.append(Text(f"{name}{' ' * (widest - cell_len(name))} ") + cell(value))
    return Group(*lines)


def cell(value: Any) -> Text:
    """One value on one line."""
    if value is None:
        return Text("NULL", style="dim")
    if isinstance(value, str):
        return Text(" ".join(value.split()) if "\n" in value or "\t" in value else value)
    return Text(_JSON.encode(value).decode())


def plan_lines(result: SqlResult) -> str | None:
    """The text of an EXPLAIN, None for other results."""
    if result.columns != ("explain_key", "explain_value"):
        return None
    return "\n".join(str(row[1]).rstrip("\n") for row in result.rows)
