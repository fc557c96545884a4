"""Ends servers and removes their data when the process that started them is gone, however it ended.

A process of its own: its standard input is a pipe whose other end only the owner holds, so that it reads the end
of the file when the owner ends, also by SIGKILL. (PR_SET_PDEATHSIG would not do: it fires when the *thread* that
started the server ends.) Lines it reads: `watch PID SIGNAL` and `forget PID`; its argument is the directory to
remove, if any. It imports nothing of ours, and is run by its path.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

_GRACE_S = 3.0


def main() -> None:
    """Follow the owner's lines until it is gone, then clean up."""
    watched: dict[int, int] = {}
    for line in sys.stdin:
        verb, pid, *rest = line.split()
        if verb == "watch":
            watched[int(pid)] = int(rest[0])
        else:
            watched.pop(int(pid), None)
    for pid, how in watched.items():
        _send(pid, signal.SIGCONT)  # a paused server would act on nothing but SIGKILL
        _send(pid, how)
    end = time.monotonic() + _GRACE_S
    while any(_alive(pid) for pid in watched) and time.monotonic() < end:
        time.sleep(0.02)
    for pid in watched:
        _send(pid, signal.SIGKILL)
    for directory in sys.argv[1:]:
        shutil.rmtree(Path(directory), ignore_errors=True)


def _send(pid: int, how: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # Ctrl-C is for the owner; this ends with it
    main()
