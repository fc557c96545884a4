"""An exclusive lock between processes that is fair and gives up after a while."""

import fcntl
import os
import threading
import time
from pathlib import Path

from millrace_ports.errors import LockTimeoutError

_LOOK_EVERY_S = 1.0


class FileLock:
    """`flock` on one file, held by one thread at a time; the kernel frees it when the process dies.

    The kernel grants waiting locks in order, a loop of attempts would starve beside a busy door. A blocked
    `flock` cannot be given up, so a helper thread waits in it and hands the lock over, or lets it go when the
    caller has given up meanwhile. That the lock file still has its name is looked at once a second.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._turn = threading.Condition()
        self._queued = False
        self._wanted = False
        self._granted = False
        self._looked_at = float("-inf")

    def acquire(self, wait_s: float) -> None:
        """Take the lock within `wait_s` seconds. Raises LockTimeoutError, OSError (cannot be opened)."""
        while True:
            self._take(wait_s)
            if time.monotonic() < self._looked_at + _LOOK_EVERY_S or self.is_current():
                return
            # The lock file was removed or its directory replaced: this lock guards nothing any more.
            self.close()

    def release(self) -> None:
        """Let the next one in."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def is_current(self) -> bool:
        """Whether the file that is locked still has its name, so that others lock it too. Raises OSError."""
        held = os.fstat(self._descriptor)
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return False
        self._looked_at = time.monotonic()
        return (held.st_ino, held.st_dev) == (named.st_ino, named.st_dev)

    def look_again(self) -> None:
        """Have the next `acquire` check the name, however short ago the last check was."""
        self._looked_at = float("-inf")

    def close(self) -> None:
        """Close the file; frees the lock if held."""
        with self._turn:
            if self._descriptor >= 0 and not self._queued:
                os.close(self._descriptor)
                self._descriptor = -1
                self._looked_at = float("-inf")

    def _take(self, wait_s: float) -> None:
        with self._turn:
            if not self._queued:
                if self._descriptor < 0:
                    self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                try:
                    fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    pass
                else:
                    return
                self._queued = True
                threading.Thread(target=self._queue, name="journal-lock", daemon=True).start()
            self._wanted = True
            try:
                if not self._turn.wait_for(lambda: self._granted, wait_s):
                    raise LockTimeoutError(f"{self._path} is held by another process for over {wait_s:g} s")
                self._granted = False
            finally:
                self._wanted = False

    def _queue(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        with self._turn:
            self._queued = False
            if self._wanted:
                self._granted = True
                self._turn.notify()
            else:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
