"""The crash points of the source, and processes that end or stand still at one of them."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from pathlib import Path

import psutil

from millrace_testkit.stack import READY_WITHIN_S, Process, wait_until

ROOT = Path(__file__).resolve().parents[4]
"""The repository: the testkit is only ever used from it."""

_CALL = re.compile(r"""crash_point\(\s*["'](\w+)["']""")


def crash_points(root: Path = ROOT) -> Mapping[str, frozenset[str]]:
    """Names of all crash points in the sources, by the directory of their service or library."""
    found: dict[str, set[str]] = {}
    for source in sorted(root.glob("*/*/src")):
        for file in source.rglob("*.py"):
            if names := _CALL.findall(file.read_text()):
                found.setdefault(source.parent.name, set()).update(names)
    return {part: frozenset(names) for part, names in found.items() if part != "testkit"}


def wait_paused(process: Process, within_s: float = READY_WITHIN_S) -> None:
    """Return when the process stands still, by its own SIGSTOP."""

    def stopped() -> bool:
        assert process.alive, f"{process.name} ended:\n{process.log()[-4000:]}"
        return psutil.Process(process.pid).status() == psutil.STATUS_STOPPED

    wait_until(stopped, within_s, f"{process.name} stopped")


def wait_killed(process: Process) -> None:
    """Return when the process has killed itself. Raises StackError when it ends otherwise, or does not."""
    code = process.wait()
    assert code == -signal.SIGKILL, f"{process.name} ended with {code}:\n{process.log()[-4000:]}"
