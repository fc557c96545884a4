"""`millrace up` as a process under measurement."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.processes import Running, running, wait_until_ready
from tests.bench.report import BenchmarkError

from millrace import Client
from millrace.installation import PORTS, find_installation
from millrace_testkit.ports import free_offset

_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Up:
    """An installation that serves, and what it took from the start of its process to its readiness."""

    process: Running
    port_offset: int
    data: Path
    ready_s: float
    ready_cpu_s: float

    @property
    def door_port(self) -> int:
        """The webhook's port."""
        return PORTS["ingest-service"].http + self.port_offset

    def client(self) -> Client:
        """A client with the user key of its credentials file."""
        return Client(installation=find_installation({}, data=self.data, port_offset=self.port_offset))


@contextmanager
def up(data: Path) -> Iterator[Up]:
    """`millrace up --no-sample`, ready in all four services; stopped at the end."""
    offset = free_offset()
    command = str(Path(sys.executable).with_name("millrace"))
    arguments = [command, "up", "--data", str(data), "--port-offset", str(offset), "--no-sample"]
    started = time.monotonic()
    with running(arguments, data.with_name(f"{data.name}.log")) as process:
        wait_until_ready(
            process, [f"http://127.0.0.1:{ports.management + offset}/ready" for ports in PORTS.values()]
        )
        yield Up(process, offset, data, time.monotonic() - started, process.cpu_s())


def wait_for_count(installed: Up, client: Client, day: str, rows: int, *, within_s: float = 60) -> None:
    """Returns when the query service counts `rows` messages of the day; more are an error."""
    deadline = time.monotonic() + within_s
    while (count := client.count(day, day)) != rows:
        installed.process.check()
        if count > rows or time.monotonic() > deadline:
            raise BenchmarkError(f"{count} messages can be queried, not {rows}")
        time.sleep(_POLL_S)
