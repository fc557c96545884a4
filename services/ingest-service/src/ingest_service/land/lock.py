"""The ingest lock: held per batch by whatever drives landing, resident writer or command.

It only keeps two drivers from doing the same work twice. Rows are exact without it, by compare-and-swap;
so a holder that was stopped in the middle delays the others once, and never blocks them.
"""

from __future__ import annotations

import contextlib
import fcntl
import pathlib
import time
from collections.abc import Iterator

_RETRY_S = 0.01


class IngestLock:
    """`metadata/.ingest.lock`. Blocking: for threads."""

    def __init__(self, metadata: pathlib.Path, *, patience_s: float = 2.0) -> None:
        metadata.mkdir(parents=True, exist_ok=True)
        self._path = metadata / ".ingest.lock"
        self._patience_s = patience_s
        self._stuck = False

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Waits for the lock for a bounded time; yields whether it is held."""
        with self._path.open("a") as file:
            got = self._take(file.fileno())
            self._stuck = not got
            yield got

    def _take(self, descriptor: int) -> bool:
        # Whoever found the holder stuck does not wait for it again until it has moved.
        end = time.monotonic() + (0 if self._stuck else self._patience_s)
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    return False
                time.sleep(_RETRY_S)
            else:
                return True
