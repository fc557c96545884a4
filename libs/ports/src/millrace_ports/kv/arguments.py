"""Checks of arguments that all adapters share, so that they refuse the same ones with the same words."""

from __future__ import annotations

import math

MAX_INTEGER = 2**63 - 1
MIN_INTEGER = -(2**63)


def checked_key(key: str) -> str:
    """`key`. Raises ValueError when it is empty."""
    if not key:
        raise ValueError("a key may not be empty")
    return key


def milliseconds(name: str, seconds: float) -> int:
    """`seconds` in whole milliseconds, rounded up. Raises ValueError, naming the argument, below 1 ms."""
    if not 0.001 <= seconds < math.inf:
        raise ValueError(f"{name} must be at least 0.001 s and finite, not {seconds}")
    return math.ceil(round(seconds * 1000, 6))


def optional_milliseconds(name: str, seconds: float | None) -> int | None:
    """The same, None staying None."""
    return None if seconds is None else milliseconds(name, seconds)


def checked_integer(name: str, value: int, *, at_least: int = MIN_INTEGER) -> int:
    """`value`. Raises ValueError when it is below `at_least` or does not fit in signed 64 bits."""
    if not at_least <= value <= MAX_INTEGER:
        raise ValueError(f"{name} must be from {at_least} to {MAX_INTEGER}, not {value}")
    return value
