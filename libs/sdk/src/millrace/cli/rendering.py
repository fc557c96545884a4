"""Messages on stdout: a table for people, JSON and CSV for programs."""

import csv
import sys
from collections.abc import Iterable, Sequence
from dataclasses import is_dataclass
from datetime import datetime

import msgspec

from millrace.cli.classified import Classified
from millrace.messages import Message

Row = Message | Classified

# Cut to the width of the terminal; everything else is shown whole.
_PROSE = frozenset({"content", "desc", "source", "extra_fields", "text", "des", "url", "refermsg"})


def write_json(total: int, rows: Iterable[Row], columns: Sequence[str]) -> None:
    """`{"total": …, "items": […]}` as the HTTP API gives it, written row by row."""
    out = sys.stdout
    out.write(f'{{"total": {total}, "items": [')
    for position, row in enumerate(rows):
        values = {name: _plain(getattr(row, name)) for name in columns}
        out.write((",\n" if position else "\n") + msgspec.json.encode(values).decode())
    out.write("\n]}\n")


def write_csv(rows: Iterable[Row], columns: Sequence[str]) -> None:
    """RFC 4180 with a header line; an absent value is an empty field."""
    writer = csv.writer(sys.stdout, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_field(getattr(row, name)) for name in columns])


def write_table(total: int, rows: Sequence[Row], columns: Sequence[str]) -> None:
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


def _field(value: object) -> object:
    """One field of CSV; an object as JSON text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if is_dataclass(value):
        return msgspec.json.encode(value).decode()
    return _plain(value)


def _plain(value: object) -> object:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def _cell(row: Row, name: str) -> str:
    value = (row.chatroom_sender or row.from_username) if name == "sender" else getattr(row, name)
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return " ".join(str(_field(value)).split())
