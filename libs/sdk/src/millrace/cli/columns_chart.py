"""Counts over time as columns of block characters. Pure.

Drawn by hand, since the one well-known library for it has a compiled core in its present version: too much for one
picture.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

Bucket = tuple[datetime, int]

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_LABEL_GAP = 3
_MOST_WIDE = 8


def chart(
    buckets: Sequence[Bucket], unit: str, width: int, height: int, *, plain: bool = False
) -> Iterator[str]:
    """The lines of the drawing; `plain` for terminals without block characters.

    Where there are more buckets than room, neighbours are counted together in one column. No line but the last is
    wider than `width`, unless not even one column fits.
    """
    columns, merged = list(buckets), 1
    axis = _digits(columns)
    while (room := max(1, width - axis - 2)) < len(columns):
        merged = -(-len(buckets) // room)
        columns = [
            (buckets[at][0], sum(count for _, count in buckets[at : at + merged]))
            for at in range(0, len(buckets), merged)
        ]
        axis = _digits(columns)  # counts that are larger by now may need more room
    peak_at, peak = max(columns, key=lambda column: column[1])
    wide = max(1, min(_MOST_WIDE, room // len(columns)))
    for row in range(height, 0, -1):
        label = f"{peak * row // height:,}" if row in (height, (height + 1) // 2) else ""
        drawn = "".join(_part(count, peak, row, height, plain) * wide for _, count in columns)
        yield f"{label:>{axis}} {'|' if plain else '┤'}{drawn}".rstrip()
    corner, line = ("+", "-") if plain else ("└", "─")
    yield f"{0:>{axis}} {corner}{line * (wide * len(columns))}"
    yield (" " * (axis + 2) + _times(columns, unit, wide, room)).rstrip()
    each = f"{merged} {unit}s" if merged > 1 else "an hour" if unit == "hour" else f"a {unit}"
    most = f"; most: {peak:,} at {peak_at:%Y-%m-%d %H:%M}" if peak else ""
    yield f"{sum(count for _, count in buckets):,} messages, one column {each}{most}"


def _digits(columns: Sequence[Bucket]) -> int:
    return len(f"{max(count for _, count in columns):,}")


def _part(count: int, peak: int, row: int, height: int, plain: bool) -> str:
    """What of a column is in this row, counted from 1 at the bottom."""
    if not peak:
        return " "
    eighths = -(-count * height * 8 // peak)  # rounded up: whatever there was can be seen
    here = min(8, max(0, eighths - (row - 1) * 8))
    if plain:
        return "#" if here >= 4 or (row == 1 and here) else " "
    return _EIGHTHS[here]


def _times(columns: Sequence[Bucket], unit: str, wide: int, room: int) -> str:
    """When columns begin, as many as there is room for; the day where it changes."""
    text, day = "", None
    for position, (moment, _) in enumerate(columns):
        at = position * wide
        label = f"{moment:%m-%d}" if unit == "day" or moment.date() != day else f"{moment:%H:%M}"
        if at and at < len(text) + _LABEL_GAP:
            continue
        if at + len(label) > room:
            break
        text = text.ljust(at) + label
        day = moment.date()
    return text
