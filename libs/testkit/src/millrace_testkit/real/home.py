"""The directory of a stack of servers, and the watchdog that outlives this process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from millrace_testkit.real import watchdog

_CLOSED_WITHIN_S = 10.0


class Home:
    """Where servers' data are. What was registered is ended when this process is gone, whatever happens.

    A temporary directory, removed then as well; one that is given is kept, with the data in good order.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.kept = directory is not None
        if directory is None:
            self.path = Path(tempfile.mkdtemp(prefix="millrace-real-"))
        else:
            self.path = directory
            directory.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o711)  # servers that refuse root run as a user of their own
        self._lock = threading.Lock()
        removed = [] if self.kept else [str(self.path)]
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(watchdog.__file__)), *removed],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def watch(self, pid: int, signal_number: int) -> None:
        """End the process with this signal when this process is gone."""
        self._tell(f"watch {pid} {signal_number}")

    def forget(self, pid: int) -> None:
        """The process has ended: its number may be another's from now on."""
        self._tell(f"forget {pid}")

    def close(self) -> None:
        """End what is still registered, remove the directory unless it is kept, and return when that is done."""
        with self._lock:
            assert self._watchdog.stdin is not None
            self._watchdog.stdin.close()
        self._watchdog.wait(_CLOSED_WITHIN_S)

    def _tell(self, line: str) -> None:
        with self._lock:
            assert self._watchdog.stdin is not None
            self._watchdog.stdin.write(line + "\n")
            self._watchdog.stdin.flush()
