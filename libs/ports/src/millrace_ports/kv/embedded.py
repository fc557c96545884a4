"""The embedded key-value store: a dictionary of this process, written to a file now and then.

Operations are plain code between two suspensions of the event loop, and so atomic. A change makes a snapshot
due; it is written in a thread `snapshot_every_s` seconds later, and at `close`. A crash loses the changes since
the last snapshot: those of `snapshot_every_s` and of the time that one write takes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from millrace_ports.errors import ClosedError
from millrace_ports.kv.arguments import (
    MAX_INTEGER,
    MIN_INTEGER,
    checked_integer,
    checked_key,
    milliseconds,
    optional_milliseconds,
)
from millrace_ports.kv.errors import KvError, KvValueError
from millrace_ports.kv.port import Admission
from millrace_ports.kv.snapshot import Entry, SnapshotFile


class EmbeddedKv:
    """`millrace_ports.kv.port.Kv` in the directory `root`, for one process. `now_ms` is Unix time.

    Raises KvRefusedError, naming MILLRACE_KV, when another process has the directory or the file is damaged.
    """

    def __init__(self, root: Path, *, now_ms: Callable[[], int], snapshot_every_s: float = 1.0) -> None:
        self._now_ms = now_ms
        self._snapshot_every_s = snapshot_every_s
        self._file = SnapshotFile(root)
        try:
            self._entries = self._file.read()
        except KvError:
            self._file.close()
            raise
        self._dirty = False
        self._writing: asyncio.Task[None] | None = None
        self._trouble: KvError | None = None
        self._closed = False

    async def get(self, key: str) -> bytes | None:
        return self._text(key)

    async def set(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        ttl_ms = optional_milliseconds("ttl_s", ttl_s)
        self._live(key)
        self._store(key, Entry(value, self._after(ttl_ms)))

    async def delete(self, key: str) -> bool:
        if self._live(key) is None:
            return False
        self._remove(key)
        return True

    async def compare_and_set(
        self, key: str, expected: bytes | None, value: bytes | None, *, ttl_s: float | None = None
    ) -> bool:
        ttl_ms = optional_milliseconds("ttl_s", ttl_s)
        if expected is None and value is None:
            raise ValueError("expected and value are both None")
        if expected is None:
            if self._live(key) is not None:
                return False
        elif self._text(key) != expected:
            return False
        if value is None:
            self._remove(key)
        else:
            self._store(key, Entry(value, self._after(ttl_ms)))
        return True

    async def increment(self, key: str, by: int = 1, *, ttl_s: float | None = None) -> int:
        ttl_ms = optional_milliseconds("ttl_s", ttl_s)
        checked_integer("by", by)
        before = self._live(key)
        total = (0 if before is None else self._integer(key)) + by
        if not MIN_INTEGER <= total <= MAX_INTEGER:
            raise KvValueError(f"key {key!r}: the counter would leave 64 bits")
        expires_ms = self._after(ttl_ms) if before is None else before.expires_ms
        self._store(key, Entry(b"%d" % total, expires_ms))
        return total

    async def admit(self, key: str, *, limit: int, window_s: float) -> Admission:
        window_ms = milliseconds("window_s", window_s)
        checked_integer("limit", limit, at_least=1)
        entry = self._live(key)
        events = () if entry is None else entry.value
        if not isinstance(events, tuple):
            raise KvValueError(f"key {key!r} holds a value, not the events of a limit")
        now = self._now_ms()
        if len(events) >= limit and events[-limit] <= now < events[-limit] + window_ms:
            return Admission(admitted=False, retry_after_s=(events[-limit] + window_ms - now) / 1000)
        self._store(key, Entry((*events, now)[-limit:], now + window_ms))
        return Admission(admitted=True)

    async def claim(self, key: str, count: int, *, maximum: int, ttl_s: float | None = None) -> int | None:
        ttl_ms = optional_milliseconds("ttl_s", ttl_s)
        checked_integer("count", count, at_least=1)
        checked_integer("maximum", maximum, at_least=0)
        before = self._live(key)
        if before is None:
            return None
        start = self._integer(key)
        if start < 0:
            raise KvValueError(f"key {key!r} holds a negative counter")
        if start + count > maximum:
            return None
        expires_ms = before.expires_ms if ttl_ms is None else self._after(ttl_ms)
        self._store(key, Entry(b"%d" % (start + count), expires_ms))
        return start

    async def take(self, key: str) -> bytes | None:
        value = self._text(key)
        if value is not None:
            self._remove(key)
        return value

    async def check(self) -> None:
        if self._closed:
            raise ClosedError("the key-value store is closed")
        if self._trouble is not None:
            raise self._trouble

    async def close(self) -> None:
        """See the port. Raises KvError when the last changes could not be written."""
        if self._closed:
            return
        self._closed = True
        if self._writing is not None:
            self._writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writing
        try:
            if self._dirty:
                await self._write()
        finally:
            self._file.close()

    def _live(self, key: str) -> Entry | None:
        """What the unexpired key holds."""
        if self._closed:
            raise ClosedError("the key-value store is closed")
        entry = self._entries.get(checked_key(key))
        if entry is None or _expired(entry, self._now_ms()):
            return None
        return entry

    def _text(self, key: str) -> bytes | None:
        entry = self._live(key)
        if entry is None:
            return None
        if not isinstance(entry.value, bytes):
            raise KvValueError(f"key {key!r} holds the events of a limit, not a value")
        return entry.value

    def _integer(self, key: str) -> int:
        text = self._text(key) or b""
        try:
            value = int(text)
        except ValueError:
            raise KvValueError(f"key {key!r} does not hold an integer") from None
        if b"%d" % value != text or not MIN_INTEGER <= value <= MAX_INTEGER:
            raise KvValueError(f"key {key!r} does not hold a 64-bit integer in plain decimal digits")
        return value

    def _after(self, ttl_ms: int | None) -> int | None:
        return None if ttl_ms is None else self._now_ms() + ttl_ms

    def _store(self, key: str, entry: Entry) -> None:
        self._entries[key] = entry
        self._changed()

    def _remove(self, key: str) -> None:
        del self._entries[key]
        self._changed()

    def _changed(self) -> None:
        self._dirty = True
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_soon())

    async def _write_soon(self) -> None:
        while self._dirty:
            await asyncio.sleep(self._snapshot_every_s)
            with contextlib.suppress(KvError):  # kept for `check`, and tried again
                await self._write()

    async def _write(self) -> None:
        now = self._now_ms()
        self._entries = {key: entry for key, entry in self._entries.items() if not _expired(entry, now)}
        self._dirty = False
        # Shielded: a thread cannot be stopped, and the next one would write the same temporary file.
        writing = asyncio.ensure_future(asyncio.to_thread(self._file.write, dict(self._entries)))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            self._dirty = True
            await asyncio.gather(writing, return_exceptions=True)
            raise
        except KvError as error:
            self._dirty = True
            self._trouble = error
            raise
        self._trouble = None


def _expired(entry: Entry, now_ms: int) -> bool:
    return entry.expires_ms is not None and entry.expires_ms <= now_ms
