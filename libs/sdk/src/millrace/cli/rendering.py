"""Messages on stdout: a table for people, JSON and CSV for programs."""

import csv
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from millrace.messages import Message

# Cut to the width of the terminal; everything else is shown whole.
_PROSE = frozenset({"content", "desc", "source", "extra_fields"})


def write_json(total: int, rows: Iterable[Message], columns: Sequence[str]) -> None:
    """`{"total": …, "items": […]}` as the HTTP API gives it, written row by row."""
    out = sys.stdout
    out.write(f'{{"total": {total}, "items": [')
    for position, row in enumerate(rows):
        values = {name: _plain(getattr(row, name)) for name in columns}
        out.write((",\n" if position else "\n") + msgspec.json.encode(values).decode())
    out.write("\n]}\n")


def write_csv(rows: Iterable[Message], columns: Sequence[str]) -> None:
    """RFC 4180 with a header line; an absent value is an empty field."""
    writer = csv.writer(sys.stdout, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(["" if (value := getattr(row, name)) is None else _plain(value) for name in columns])


def write_table(total: int, rows: Sequence[Message], columns: Sequence[str]) -> None:
    """The rows, one line each as far as the terminal is wide, and how many there are in all.

    Without `columns`: when, by whom, which type and what.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    names = tuple(columns) or ("create_time", "sender", "msg_type", "content")
    cells = [[_cell(row, name) for name in names] for row in rows]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    for name, width in zip(names, _widths(names, cells, console.width), strict=True):
        table.add_column(name, no_wrap=True, overflow="ellipsis", width=width)
    for line in cells:
        table.add_row(*map(Text, line))
    console.print(table, crop=False)
    more = "; --limit, --json or --csv give more" if len(rows) < total else ""
    console.print(f"{len(rows)} of {total} messages{more}", highlight=False)


def _widths(names: Sequence[str], cells: Sequence[Sequence[str]], available: int) -> list[int]:
    """Every column as wide as its values, but prose as wide as what is left, and never below 20."""
    from rich.cells import cell_len

    widths = [
        max([cell_len(name), *(cell_len(line[position]) for line in cells)])
        for position, name in enumerate(names)
    ]
    prose = [position for position, name in enumerate(names) if name in _PROSE]
    rest = available - sum(widths[p] for p in range(len(names)) if p not in prose) - 2 * len(names)
    for position in prose:
        widths[position] = min(widths[position], max(20, rest // len(prose)))
    return widths


def _plain(value: object) -> object:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def _cell(row: Message, name: str) -> str:
    value = (row.chatroom_sender or row.from_username) if name == "sender" else getattr(row, name)
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return " ".join(str(value).split())
