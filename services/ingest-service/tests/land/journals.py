"""Journals by hand, for the model to read."""

import pathlib
import struct

TODAY = "2026-03-20"
"""A day after those of the journals, so that they are closed."""


def write_journal(
    root: pathlib.Path, lines: list[bytes], door: str = "door-1", day: str = "2026-03-14"
) -> None:
    """The journal that these lines are relayed from."""
    root.mkdir(parents=True, exist_ok=True)
    (root / ".door").write_text(f"{door}\n")
    # A line break between tokens is a space in a journal.
    lines[:] = [line.replace(b"\n", b" ") for line in lines]
    (root / f"{day}.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    times = [(number, 0, 1_773_449_999_999 + number) for number in range(1, len(lines) + 1)]
    (root / f".{day}.idx").write_bytes(b"".join(struct.pack("<QQQ", *entry) for entry in times))
