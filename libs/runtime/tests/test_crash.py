import os
import signal
import subprocess
import sys

import pytest

LOOP = """
from millrace_runtime.crash import crash_point
for turn in range(3):
    print(turn, flush=True)
    crash_point("AFTER_COMMIT_BEFORE_INDEX")
print("end", flush=True)
"""


def run(crash_at: str | None) -> tuple[int, list[str]]:
    environ = {**os.environ, "MILLRACE_CRASH_AT": crash_at or ""}
    done = subprocess.run(
        [sys.executable, "-c", LOOP], env=environ, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.split()


@pytest.mark.parametrize(
    ("crash_at", "printed"),
    [("AFTER_COMMIT_BEFORE_INDEX", ["0"]), ("AFTER_COMMIT_BEFORE_INDEX#3", ["0", "1", "2"])],
)
def test_the_process_dies_at_the_named_moment(crash_at: str, printed: list[str]) -> None:
    assert run(crash_at) == (-signal.SIGKILL, printed)


@pytest.mark.parametrize("crash_at", [None, "ANOTHER_MOMENT", "AFTER_COMMIT_BEFORE_INDEX#4"])
def test_otherwise_nothing_happens(crash_at: str | None) -> None:
    assert run(crash_at) == (0, ["0", "1", "2", "end"])


def test_the_process_stops_at_the_named_moment_and_goes_on_when_told() -> None:
    environ = {**os.environ, "MILLRACE_PAUSE_AT": "AFTER_COMMIT_BEFORE_INDEX#2"}
    with subprocess.Popen(
        [sys.executable, "-c", LOOP], env=environ, stdout=subprocess.PIPE, text=True
    ) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        printed, _ = process.communicate(timeout=30)
        assert (process.returncode, printed.split()) == (0, ["0", "1", "2", "end"])
