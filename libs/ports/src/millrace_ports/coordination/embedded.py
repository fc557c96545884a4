"""Coordination in a local directory: one host, several processes, no server.

Leases are files (`local_leases`), keys are in `ROOT/keys.sqlite` (`local_keys`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from millrace_ports.coordination.arguments import check_change, check_key, check_lease, check_revision
from millrace_ports.coordination.errors import CoordinationError
from millrace_ports.coordination.local_keys import LocalKeys
from millrace_ports.coordination.local_leases import LocalLeases
from millrace_ports.coordination.port import Entry, Event, Lease, Listing
from millrace_ports.errors import ClosedError

P = ParamSpec("P")
T = TypeVar("T")

_LOOK_EVERY_S = 0.1


def read_boottime() -> float:
    """Seconds since boot, time spent suspended included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def read_boot_id() -> str:
    """Identity of the running boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class FileCoordination:
    """Coordination port on the directory `root` (created when missing). Safe among processes of one host.

    At least the latest `history` changes of keys can be watched.
    """

    def __init__(
        self,
        root: Path,
        *,
        boottime: Callable[[], float],
        boot_id: Callable[[], str],
        history: int = 10_000,
    ) -> None:
        self._leases = LocalLeases(root, boottime=boottime, boot_id=boot_id())
        self._keys = LocalKeys(root / "keys.sqlite", history=history)
        self._closed = False

    async def acquire(self, name: str, ttl_s: float, holder: str) -> Lease | None:
        check_lease(name, ttl_s)
        return await self._run(self._leases.acquire, name, ttl_s, holder)

    async def renew(self, lease: Lease) -> Lease:
        return await self._run(self._leases.renew, lease)

    async def check(self, lease: Lease) -> None:
        await self._run(self._leases.check, lease)

    async def release(self, lease: Lease) -> None:
        await self._run(self._leases.release, lease)

    async def create(self, key: str, value: bytes) -> int | None:
        check_change(key, value)
        return await self._run(self._keys.put, key, value, if_revision=0)

    async def get(self, key: str) -> Entry | None:
        check_key(key)
        return await self._run(self._keys.get, key)

    async def list(self, prefix: str) -> Listing:
        return await self._run(self._keys.list, prefix)

    async def put(self, key: str, value: bytes, *, if_revision: int | None = None) -> int | None:
        check_change(key, value, if_revision)
        return await self._run(self._keys.put, key, value, if_revision=if_revision)

    async def delete(self, key: str, *, if_revision: int | None = None) -> bool:
        check_change(key, b"", if_revision)
        return await self._run(self._keys.put, key, None, if_revision=if_revision) is not None

    async def watch(self, prefix: str, from_revision: int) -> AsyncGenerator[Event, None]:
        """See the port. Looks ten times a second."""
        check_revision("from_revision", from_revision)
        while True:
            try:
                events, from_revision = await self._run(self._keys.changes, prefix, from_revision)
            except CoordinationError as error:
                if not error.retryable:
                    raise
                events = ()
            for event in events:
                yield event
            if not events:
                await asyncio.sleep(_LOOK_EVERY_S)

    async def close(self) -> None:
        self._closed = True
        await asyncio.to_thread(self._keys.close)

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._closed:
            raise ClosedError("coordination is closed")
        return await asyncio.to_thread(function, *args, **kwargs)
