"""`millrace up` as a process of its own, on free ports and a directory of the test."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from millrace_testkit.ports import free_offset

READY_WITHIN_S = 90.0
STOPPED_WITHIN_S = 30.0
READY_LINE = "Ctrl-C stops."

MILLRACE = str(Path(sys.executable).with_name("millrace"))


def environment(data: Path, port_offset: int) -> dict[str, str]:
    """This process's environment with the two settings, and no other setting of Millrace."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "OTEL_"))}
    return clean | {"MILLRACE_DATA": str(data), "MILLRACE_PORT_OFFSET": str(port_offset)}


@dataclass
class Standalone:
    """One `millrace up`. `output` has what it printed so far."""

    data: Path
    port_offset: int
    process: subprocess.Popen[str]
    output: list[str] = field(default_factory=list)

    @classmethod
    def start(
        cls,
        data: Path,
        *options: str,
        port_offset: int | None = None,
        extra_environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Start it and return at once."""
        offset = free_offset() if port_offset is None else port_offset
        process = subprocess.Popen(
            [MILLRACE, "up", *options],
            env=environment(data, offset) | dict(extra_environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return cls(data, offset, process)

    def wait_ready(self) -> str:
        """Everything printed until it serves; RuntimeError with the output when it ends instead."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + READY_WITHIN_S
        for line in self.process.stdout:
            self.output.append(line)
            if READY_LINE in line:
                return "".join(self.output)
            if time.monotonic() > deadline:
                break
        raise RuntimeError("millrace up is not ready:\n" + "".join(self.output))

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ask it to stop; the exit code (minus the signal that killed it)."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; the exit code."""
        rest, _ = self.process.communicate(timeout=STOPPED_WITHIN_S)
        self.output.append(rest)
        return self.process.returncode

    def millrace(
        self, arguments: Sequence[str], *, stdin: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the command line against it."""
        return subprocess.run(
            [MILLRACE, *arguments],
            env=environment(self.data, self.port_offset) | {"COLUMNS": "160"},
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )


@contextmanager
def running(data: Path, *options: str) -> Iterator[Standalone]:
    """A ready one; stopped, or killed where it does not stop, when the block is left."""
    standalone = Standalone.start(data, *options)
    try:
        standalone.wait_ready()
        yield standalone
    finally:
        if standalone.process.poll() is None:
            try:
                standalone.stop()
            except subprocess.TimeoutExpired:
                standalone.process.kill()
                standalone.wait()
