"""The coordination port: leases with rising tokens, and keys whose changes are numbered and can be watched.

What every adapter promises, and `millrace_testkit.contracts.coordination` tests:

* At any moment at most one lease of a name is unexpired. A lease is lost when its deadline passes, even if nobody
  else took it since: another process may already have read it as expired and be about to take it.
* Deadlines count from when the request was *sent*, on the holder's CLOCK_BOOTTIME, so that the holder sees its
  lease end before the backend does. A backend may need some seconds more to give an expired name away.
* Every change of a key has a revision of its own, higher than that of all changes before it, and is durable when
  the call returns.
* Lease names and keys are apart: a key `a` and a lease `a` have nothing to do with each other.
* After a `CoordinationError` that is `retryable` the change may have taken place or not: look before repeating.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

MAX_VALUE_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to act under `name` until `deadline`.

    `token` is the fencing token: every acquisition of a name, by whomever and across restarts, has a
    higher one, so that a resource which remembers the highest token it saw can refuse a holder that
    was paused past its deadline. `deadline` is in seconds of the holder's CLOCK_BOOTTIME, which counts
    time spent suspended. `ttl_s` is how far a renewal moves it.
    """

    name: str
    token: int
    holder: str
    ttl_s: float
    deadline: float


@dataclass(frozen=True, slots=True)
class Entry:
    """What a key holds; `revision` is that of its latest change."""

    key: str
    value: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class Listing:
    """The keys as they were at `revision`, in the order of their bytes. `watch` from `revision + 1` goes on."""

    entries: tuple[Entry, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Event:
    """One change of a key: its new value, or None when it was deleted."""

    key: str
    value: bytes | None
    revision: int


class Coordination(Protocol):
    """Leases and keys. Safe for any number of tasks of one event loop.

    All methods raise ValueError for arguments that make no sense (an empty name, a time to live or revision that
    is not positive, a value above 1 MiB), CoordinationRefusedError, CoordinationError and, after `close`,
    ClosedError. `millrace_ports.coordination.lock` makes a lock of a lease.
    """

    async def acquire(self, name: str, ttl_s: float, holder: str) -> Lease | None:
        """Take the lease `name` for `ttl_s` seconds, or return None while somebody holds it.

        `holder` is a label for people. A holder does not get its own unexpired lease a second time.
        """
        ...

    async def renew(self, lease: Lease) -> Lease:
        """Move the deadline to `ttl_s` from now; the token stays. Raises LeaseLostError when it is lost.

        `lease` is what the last renewal returned: an older one has an older deadline.
        """
        ...

    async def check(self, lease: Lease) -> None:
        """Return if the lease is still held at this moment. Raises LeaseLostError when it is lost."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give the lease up, so that the next acquire succeeds at once. A lost lease: nothing happens."""
        ...

    async def create(self, key: str, value: bytes) -> int | None:
        """Store `value` if the key is absent: the revision, or None when it is there."""
        ...

    async def get(self, key: str) -> Entry | None:
        """What the key holds, None when absent. Never older than a change that returned before the call."""
        ...

    async def list(self, prefix: str) -> Listing:
        """All keys that begin with `prefix`, "" for all, as of one moment."""
        ...

    async def put(self, key: str, value: bytes, *, if_revision: int | None = None) -> int | None:
        """Store `value`: the revision. With `if_revision` only if the key's latest change is that one, else None."""
        ...

    async def delete(self, key: str, *, if_revision: int | None = None) -> bool:
        """Remove the key; whether it was there and, with `if_revision`, its latest change was that one."""
        ...

    def watch(self, prefix: str, from_revision: int) -> AsyncGenerator[Event, None]:
        """Every change from `from_revision` on of keys that begin with `prefix`, in order, each once, without end.

        A backend that is away is waited for, however long; the watch goes on after the last change that it
        gave. Where the changes since then are not kept any more, or the backend has been replaced by one that
        never had them, it raises HistoryLostError: `list` again, and watch from there. Close the iterator when
        leaving it early (`contextlib.aclosing`).
        """
        ...

    async def close(self) -> None:
        """Let go of connections; watches end with ClosedError. Leases that were not released run out."""
        ...
