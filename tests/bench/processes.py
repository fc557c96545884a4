"""Starting the processes under measurement, and reading what they cost."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from tests.bench.machine import peak_mb
from tests.bench.report import BenchmarkError

ROOT = Path(__file__).parents[2]
_STOP_WITHIN_S = 60.0


class Running:
    """A process and its children, under measurement."""

    def __init__(self, popen: "subprocess.Popen[bytes]", log: Path) -> None:
        self._popen = popen
        self._process = psutil.Process(popen.pid)
        self.log = log

    def rss_mb(self) -> float:
        """Resident memory now, children included, in MB (10^6 bytes)."""
        family = [self._process, *self._process.children(recursive=True)]
        return sum(member.memory_info().rss for member in family) / 1e6

    def peak_mb(self) -> float:
        """Most resident memory that the process itself ever had, in MB."""
        return peak_mb(self._process.pid)

    def cpu_s(self) -> float:
        """CPU seconds used so far, user and system."""
        times = self._process.cpu_times()
        return times.user + times.system

    def check(self) -> None:
        """Raises BenchmarkError with the end of the log when the process has ended."""
        if self._popen.poll() is not None:
            raise BenchmarkError(f"the process ended with {self._popen.returncode}:\n{tail(self.log)}")

    def stop(self) -> None:
        """SIGTERM, and the clean end that must follow."""
        self._popen.terminate()
        try:
            code = self._popen.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
            raise BenchmarkError(f"no end within {_STOP_WITHIN_S} s of SIGTERM:\n{tail(self.log)}") from None
        if code:
            raise BenchmarkError(f"the process ended with {code}:\n{tail(self.log)}")


@contextmanager
def running(
    arguments: Sequence[str], log: Path, environment: Mapping[str, object] | None = None
) -> Iterator[Running]:
    """`python ARGUMENTS` with these MILLRACE_* settings and no others; stopped at the end.

    On an error inside the block the process is killed, so that the error is what is reported.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        popen = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=_environment(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    process = Running(popen, log)
    try:
        yield process
    except BaseException:
        popen.kill()
        popen.wait()
        raise
    process.check()
    process.stop()


def measured(arguments: Sequence[str], *, timeout_s: float = 600) -> dict[str, Any]:
    """Run `python ARGUMENTS` to its end; what it printed as JSON. Raises BenchmarkError when it fails."""
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=_environment({}),
            capture_output=True,
            timeout=timeout_s,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise BenchmarkError(f"{arguments[1]} failed:\n{error.stderr.decode()[-2000:]}") from error
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{arguments[1]} took longer than {timeout_s} s") from None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def wait_until_ready(process: Running, urls: Sequence[str], *, within_s: float = 60) -> None:
    """Returns when every URL answers 200."""
    deadline = time.monotonic() + within_s
    waiting = list(urls)
    while waiting:
        process.check()
        if _answers(waiting[0]):
            waiting.pop(0)
            continue
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{waiting[0]} is not ready after {within_s} s:\n{tail(process.log)}")
        time.sleep(0.01)


def tail(log: Path, characters: int = 2000) -> str:
    """The end of a log."""
    return log.read_text(errors="replace")[-characters:] if log.exists() else ""


def _environment(settings: Mapping[str, object]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "OTEL_"))}
    return kept | {name: str(value) for name, value in settings.items()}


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
