"""Somebody who draws ids without end, and notices one that comes twice."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx

PER_CALL = 1_000
"""A step of the tag: each call needs the database."""

_EVERY_S = 0.2
_ANSWER_WITHIN_S = 10.0
_HEALED_WITHIN_S = 60.0
_TAG = {"workspace": "demo", "group": "default", "biz_tag": "order-id", "size": PER_CALL}


class Drawer:
    """Draws ids by HTTP from an id-service that comes and goes. An answer that got lost is not waited for: its ids
    are a gap.

    Args:
        port: where id-service listens now; a restarted one may listen elsewhere.
        credentials: the file with the user key.
    """

    def __init__(self, port: Callable[[], int], credentials: Path) -> None:
        self._port = port
        self._credentials = credentials
        self.ids: list[str] = []

    async def draw(self, over: asyncio.Event) -> None:
        """Until `over` is set."""
        async with httpx.AsyncClient(trust_env=False, timeout=_ANSWER_WITHIN_S) as client:
            while not over.is_set():
                await self._drawn(client)
                await asyncio.sleep(_EVERY_S)

    async def draw_once_more(self) -> None:
        """Return when more than a node holds in memory was drawn: the database works again, too."""
        wanted = len(self.ids) + 2 * PER_CALL
        async with httpx.AsyncClient(trust_env=False, timeout=_ANSWER_WITHIN_S) as client:
            try:
                async with asyncio.timeout(_HEALED_WITHIN_S):
                    while len(self.ids) < wanted:
                        await self._drawn(client)
            except TimeoutError:
                raise AssertionError(f"no ids within {_HEALED_WITHIN_S:g} s after the faults") from None

    def twice(self) -> list[str]:
        """Ids that came more than once."""
        return [number for number, times in Counter(self.ids).items() if times > 1]

    async def _drawn(self, client: httpx.AsyncClient) -> None:
        url = f"http://127.0.0.1:{self._port()}/api/v1/generate/batch"
        key = json.loads(self._credentials.read_bytes())["user_key"]
        try:
            answer = await client.post(url, json=_TAG, headers={"X-API-Key": key})
        except httpx.HTTPError:
            return
        if answer.status_code == httpx.codes.OK:
            self.ids += answer.json()["ids"]
