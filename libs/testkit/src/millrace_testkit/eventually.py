"""Waiting for an effect that another task or process brings about."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

_LOOK_EVERY_S = 0.02


async def eventually(condition: Callable[[], bool], within_s: float, what: str) -> None:
    """Look again and again until `condition` holds; AssertionError naming `what` after `within_s` seconds."""

    async def look() -> bool:
        return condition()

    await eventually_true(look, within_s, what)


async def eventually_true(condition: Callable[[], Awaitable[bool]], within_s: float, what: str) -> None:
    """The same for a condition that is awaited."""
    end = asyncio.get_running_loop().time() + within_s
    while not await condition():
        if asyncio.get_running_loop().time() > end:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        await asyncio.sleep(_LOOK_EVERY_S)
