"""The key-value store: small values that are read and changed fast and may be lost.

What every adapter promises, and `millrace_testkit.contracts.kv` tests:

* Every operation is atomic and has one key: it happens wholly or not at all, and all clients of a backend see
  the operations on a key in one order.
* A time to live is counted by the backend's wall clock and goes on while processes are down. An expired key is
  an absent key.
* A clean stop of the backend loses nothing. A crash may lose the latest writes (`memory:`: those of the last
  second or so; Redis: as it is configured, and a failover likewise): then keys are as they were shortly before.
  So the store is for caches, limits and hints; what must never come back is fenced by the caller, for instance
  by a name of the key that a loss would change.
* A `KvError` that is `retryable` may come after the operation took place. Repeating `get`, `set` and `delete` is
  harmless; repeating `increment`, `admit` and `claim` may count twice or leave numbers unused, but never gives a
  number twice; after a failed `take` the value may be gone; `compare_and_set` may find its own value.

A key is a non-empty text, a value bytes. Counters are stored as decimal text of a signed 64-bit integer, so that
`get` and `set` work on them too; what `admit` keeps is of another kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer of a limit: `admitted`, or not and then after `retry_after_s` seconds at the earliest."""

    admitted: bool
    retry_after_s: float = 0.0


class Kv(Protocol):
    """One key-value store. Safe for any number of tasks of one event loop.

    All methods raise ValueError for arguments that make no sense (an empty key, a time to live below 1 ms, an
    integer outside 64 bits), KvValueError where the key holds something else, KvRefusedError, KvError and,
    after `close`, ClosedError. Each ends within the time limit that the store was opened with.
    """

    async def get(self, key: str) -> bytes | None:
        """The value, or None when absent."""
        ...

    async def set(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        """Store `value`, whatever was there, to expire in `ttl_s` seconds or, with None, never."""
        ...

    async def delete(self, key: str) -> bool:
        """Remove the key, whatever it holds; whether it was there."""
        ...

    async def compare_and_set(
        self, key: str, expected: bytes | None, value: bytes | None, *, ttl_s: float | None = None
    ) -> bool:
        """Store `value` as `set` does if the key holds `expected` at this moment; whether it did.

        None stands for an absent key on either side: `expected` None only creates, `value` None deletes. Both
        None is a ValueError.
        """
        ...

    async def increment(self, key: str, by: int = 1, *, ttl_s: float | None = None) -> int:
        """Add `by` to the counter, an absent one being 0; the sum.

        `ttl_s` counts from the creation: an existing key keeps its expiry. So a counter with a time to live
        counts what happens within one window from the first event on.
        """
        ...

    async def admit(self, key: str, *, limit: int, window_s: float) -> Admission:
        """Count an event if fewer than `limit` were counted in the `window_s` seconds before it.

        Exact for every position of the window (no more than `limit` in any `window_s` seconds); a refused
        event is not counted. Memory and time grow with `limit`, so this is for limits up to some thousands.
        """
        ...

    async def claim(self, key: str, count: int, *, maximum: int, ttl_s: float | None = None) -> int | None:
        """Take the range [start, start + count) from a counter if it ends at `maximum` or below; its start.

        None when it does not fit, which leaves the counter as it is, and when the key is absent: a counter is
        begun by `set` or `compare_and_set`, so that one which was lost does not begin again by itself. `ttl_s`
        renews the time to live after a claim.
        """
        ...

    async def take(self, key: str) -> bytes | None:
        """Get and remove at once, so that one of all takers has the value; None for all others."""
        ...

    async def check(self) -> None:
        """Return if the backend can be used now, else raise as the operations do. For readiness."""
        ...

    async def close(self) -> None:
        """Let go of connections and files; `memory:` keeps what it holds."""
        ...
