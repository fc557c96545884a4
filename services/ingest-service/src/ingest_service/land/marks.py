"""Marks: how far the records of one door have come through one partition, in one transaction version. Pure.

An origin (day, epoch, line, element) becomes one positive int64 that sorts as the origin does:

    day since 1970-01-01 (16 bits, to 2149-06-06) | epoch (4 bits) | line (33 bits, 8,589,934,591 a day) |
    element (10 bits)

The epoch counts how often the journal of the day was replaced, in an origin written `2026-03-14#1`. An epoch
beyond 15 counts as 15 and an element beyond 1,023 as that: a mark says from which line on a replay is complete,
and lines are replayed whole. Day and line are limits: an origin beyond them is none that a door gives.
"""

from __future__ import annotations

import datetime
import functools
import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

_EPOCH_BITS: Final = 4
_LINE_BITS: Final = 33
_ELEMENT_BITS: Final = 10
_FIRST_DAY: Final = datetime.date(1970, 1, 1)
_NAME: Final = re.compile(r"(\d{4}-\d{2}-\d{2})(?:#(\d{1,9}))?", re.ASCII)

LAST_DAY: Final = (1 << 63 - _EPOCH_BITS - _LINE_BITS - _ELEMENT_BITS) - 1
LAST_EPOCH: Final = (1 << _EPOCH_BITS) - 1
LAST_LINE: Final = (1 << _LINE_BITS) - 1
LAST_ELEMENT: Final = (1 << _ELEMENT_BITS) - 1

I64 = npt.NDArray[np.int64]


class OriginRangeError(ValueError):
    """A day or line that no door gives."""


@dataclass(frozen=True, slots=True)
class Day:
    """The day of an origin: `date` as YYYY-MM-DD, and `high`, what it adds to a mark."""

    date: str
    high: int


@functools.lru_cache(maxsize=1024)
def day_of(name: str) -> Day:
    """The day that `YYYY-MM-DD` or `YYYY-MM-DD#<epoch>` names; OriginRangeError when it is none within the limits."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise OriginRangeError(f"{name!r} is no day")
    try:
        number = (datetime.date.fromisoformat(found[1]) - _FIRST_DAY).days
    except ValueError:
        raise OriginRangeError(f"{name!r} is no day") from None
    if not 0 <= number <= LAST_DAY:
        raise OriginRangeError(f"{name!r} is not within {LAST_DAY} days from 1970-01-01")
    epoch = min(int(found[2] or 0), LAST_EPOCH)
    return Day(found[1], (number << _EPOCH_BITS | epoch) << _LINE_BITS + _ELEMENT_BITS)


def packed(day: str, line: int, element: int) -> int:
    """The origin as one number. Raises OriginRangeError when day or line are beyond their limits."""
    if not 1 <= line <= LAST_LINE or element < 0:
        raise OriginRangeError(f"line {line}, element {element}")
    return day_of(day).high | line << _ELEMENT_BITS | min(element, LAST_ELEMENT)


def packed_all(highs: I64, lines: I64, elements: I64) -> I64:
    """The same for columns within the limits, days as `Day.high`."""
    numbers: I64 = highs | lines << _ELEMENT_BITS | np.minimum(elements, LAST_ELEMENT)
    return numbers


def unpacked(mark: int) -> tuple[str, int, int]:
    """Day (with its epoch when there is one), line and element of a mark."""
    high = mark >> _LINE_BITS + _ELEMENT_BITS
    date = (_FIRST_DAY + datetime.timedelta(high >> _EPOCH_BITS)).isoformat()
    epoch = high & LAST_EPOCH
    return f"{date}#{epoch}" if epoch else date, mark >> _ELEMENT_BITS & LAST_LINE, mark & LAST_ELEMENT
