"""How far the lake is behind its journals, told from the files alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError


def unlanded(data: Path, *, today: str | None = None) -> dict[str, str]:
    """The journals, by door and day, whose lines are not all in the lake, with a line of explanation; {} when level.

    The messages table's transactions are the authority on positions. An unterminated last line counts
    when its day is past (LAKE-34); `today` is the UTC day, by default of now.
    """
    journals = {
        f"{door_of(root)}/{day}": lines
        for root in journal_roots(data)
        for day, lines in journal_lines(root, today).items()
    }
    if not journals:
        return {}
    try:
        table = DeltaTable(str(data / "parquet" / "messages"))
        positions = {name: _position(table, f"lake/{name}") for name in journals}
    except (FileNotFoundError, DeltaError) as error:  # not created yet, or just being taken back
        return dict.fromkeys(journals, str(error))
    return {
        name: f"line {positions[name]} of {lines}"
        for name, lines in journals.items()
        if positions[name] != lines
    }


def journal_roots(data: Path) -> list[Path]:
    """The door's journals below the data directory, and those of doors that were there before it."""
    return [data / "messages" / "raw", *sorted((data / "messages" / "former").glob("*"))]


def read_door(data: Path) -> str:
    """Identity of the door whose journals lie below the data directory."""
    return door_of(data / "messages" / "raw")


def door_of(root: Path) -> str:
    """Identity of the door whose journals lie in this directory; empty before it has taken anything."""
    file = root / ".door"
    return file.read_text().strip() if file.exists() else ""


def journal_lines(root: Path, today: str | None = None) -> dict[str, int]:
    """How many lines of each day's journal below `root` may be read, as far as it has any."""
    today = today or f"{datetime.now(UTC):%Y-%m-%d}"
    counts = {}
    for file in sorted(root.glob("*.jsonl")):
        content = file.read_bytes()
        torn = bool(content) and not content.endswith(b"\n") and file.stem < today
        if lines := content.count(b"\n") + torn:
            counts[file.stem] = lines
    return counts


def _position(table: DeltaTable, app: str) -> int:
    """Line of the newest epoch that has one."""
    position, epoch = 0, 0
    while (found := table.transaction_version(f"{app}#{epoch}")) is not None:
        position, epoch = found, epoch + 1
    return position
