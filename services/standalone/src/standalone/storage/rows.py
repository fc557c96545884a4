"""Rows on stdout for people: one line each, as wide as the terminal; whole where the output is no terminal."""

from collections.abc import Sequence
from typing import Any

# Cut to what the terminal leaves; everything else is shown whole.
_PROSE = frozenset({"content", "desc", "source", "extra_fields"})
_LEAST_PROSE = 20
_GAP = 2
# What would move the cursor or change colours is shown as Python writes it.
_VISIBLE = {code: ascii(chr(code))[1:-1] for code in (*range(32), *range(127, 160))}


def print_rows(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """A table with these columns; nothing for no rows."""
    if not rows:
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    cells = [[_cell(row[name]) for name in columns] for row in rows]
    widths = _widths(columns, cells)
    if console.is_terminal:
        _narrow(columns, widths, console.width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, _GAP, 0, 0))
    for name, width in zip(columns, widths, strict=True):
        table.add_column(name, no_wrap=True, overflow="ellipsis", width=width)
    for line in cells:
        table.add_row(*map(Text, line))
    # A line that is too long for the terminal wraps there; a file gets it whole.
    Console(width=sum(widths) + (_GAP + 1) * len(widths) + 1).print(table, crop=False)


def _cell(value: object) -> str:
    return "" if value is None else str(value).translate(_VISIBLE)


def _widths(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    from rich.cells import cell_len

    return [
        max(cell_len(name), *(cell_len(line[position]) for line in cells))
        for position, name in enumerate(columns)
    ]


def _narrow(columns: Sequence[str], widths: list[int], available: int) -> None:
    """Gives prose what the other columns leave."""
    prose = [position for position, name in enumerate(columns) if name in _PROSE]
    rest = available - sum(width for at, width in enumerate(widths) if at not in prose) - _GAP * len(widths)
    for position in prose:
        widths[position] = min(widths[position], max(_LEAST_PROSE, rest // len(prose)))
