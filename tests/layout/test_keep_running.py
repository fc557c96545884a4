"""The wrapper that keeps a relay running, on the shell of this machine."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.layout.conftest import DEPLOY

PROGRAM = DEPLOY / "docker/keep-running"
WITHIN_S = 15.0

# Says `start`, then waits; on SIGTERM takes its time to drain.
DRAINS = (
    "trap 'echo draining; sleep 0.3; echo drained; exit 0' TERM; echo start; while :; do sleep 0.05; done"
)


@contextmanager
def running(script: str, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`keep-running sh -c script`, its output in a file."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            ["sh", str(PROGRAM), "sh", "-c", script],
            stdout=file,
            stderr=subprocess.STDOUT,
            # A shell cannot trap what was ignored when it began, as under nohup.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(WITHIN_S)


def until(true: Callable[[], bool]) -> None:
    """Return when it is."""
    deadline = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_command_that_ends_is_started_again(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with running("echo start; exit 78", output):
        until(lambda: output.read_text().count("start\n") >= 2)
    assert "ended with 78; starting it again" in output.read_text()


def test_sigterm_reaches_the_command_and_its_drain_is_waited_for(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with running(DRAINS, output) as process:
        until(lambda: "start" in output.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(WITHIN_S) == 0
        assert output.read_text().splitlines() == ["start", "draining", "drained"]


def test_sighup_starts_the_command_anew(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with running(DRAINS, output) as process:
        until(lambda: "start" in output.read_text())
        process.send_signal(signal.SIGHUP)
        until(lambda: output.read_text().splitlines() == ["start", "draining", "drained", "start"])
