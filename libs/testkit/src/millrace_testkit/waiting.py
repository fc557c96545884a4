"""Waiting for an effect inside an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

_LOOK_EVERY_S = 0.02


async def until(condition: Callable[[], Awaitable[bool]], within_s: float, what: str) -> None:
    """Look again and again until `condition` holds; AssertionError naming `what` after `within_s` seconds."""
    try:
        async with asyncio.timeout(within_s):
            while True:
                if await condition():
                    return
                await asyncio.sleep(_LOOK_EVERY_S)
    except TimeoutError:
        raise AssertionError(f"not within {within_s:g} s: {what}") from None
