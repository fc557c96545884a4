"""What stands before a source's route: its signature, and the memory of what was taken already."""

from __future__ import annotations

import asyncio
from typing import Final

from ingest_service.accept.signature import Header, Scheme, Signed

_BIG_BODY: Final = 1 << 20
"""Larger bodies are hashed beside the event loop: 1 MiB takes a millisecond or more."""

_MOST_REMEMBERED: Final = 200_000


class Replays:
    """Signed requests that are stored and not too old to be taken once more, the latest 200,000 of them.

    A memory of this process: after a restart, or beyond that number, a replay is stored again.
    """

    def __init__(self, most: int = _MOST_REMEMBERED) -> None:
        self._most = most
        self._expires: dict[bytes, int] = {}

    def __contains__(self, signed: Signed) -> bool:
        return signed.replay is not None and signed.replay in self._expires

    def add(self, signed: Signed, now_s: int) -> None:
        """Remember a request that has become durable."""
        if signed.replay is None:
            return
        self._expires[signed.replay] = signed.expires_at_s
        while self._expires:
            # Roughly in the order of expiry: what stays too long behind a later one costs only its place.
            oldest = next(iter(self._expires))
            if self._expires[oldest] >= now_s and len(self._expires) <= self._most:
                return
            del self._expires[oldest]


class Guard:
    """Of one source. Lives in one event loop."""

    def __init__(self, source: str, scheme: Scheme) -> None:
        self.source = source
        self.headers = frozenset(scheme.headers)
        self._scheme = scheme
        self._replays = Replays()

    async def check(self, header: Header, body: bytes, now_s: int) -> Signed:
        """Raises NotSigned."""
        if len(body) < _BIG_BODY:
            return self._scheme.check(header, body, now_s)
        came = {name: header(name) for name in self.headers}  # a request belongs to its event loop
        return await asyncio.to_thread(self._scheme.check, came.get, body, now_s)

    def stored(self, signed: Signed) -> bool:
        """Whether this very request is stored already: sent again as it was, or recorded and replayed."""
        return signed in self._replays

    def remember(self, signed: Signed, now_s: int) -> None:
        """The request is durable."""
        self._replays.add(signed, now_s)
