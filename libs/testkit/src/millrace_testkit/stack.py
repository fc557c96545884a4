"""Millrace as real processes on free loopback ports, with its data in one directory, ended without fail."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from millrace_runtime.service import PORTS, PROCESS_PORTS, Endpoint, process_endpoint
from millrace_testkit.ports import free_offset
from millrace_testkit.progress import unlanded

if TYPE_CHECKING:
    from millrace_testkit.real import RealStack
    from millrace_testkit.real_mode import RealInstallation

READY_WITHIN_S = 60.0
LANDED_WITHIN_S = 90.0
STOPPED_WITHIN_S = 30.0
_LOOK_EVERY_S = 0.02
_LOG_SHOWN = 4_000
_LOCAL = {"HOST": "127.0.0.1"}


class StackError(AssertionError):
    """A process did not do what it was started for; the text ends with the tail of its log."""


def wait_until(condition: Callable[[], bool], within_s: float, what: str) -> None:
    """Look again and again until `condition` holds; AssertionError naming `what` after `within_s` seconds."""
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(_LOOK_EVERY_S)  # another process does the work: there is no clock to inject


class Process:
    """One running process. `endpoint` is where it listens, as far as it does."""

    def __init__(
        self,
        name: str,
        command: list[str],
        environ: dict[str, str],
        log: Path,
        offset: int,
        service: str = "ingest-service",
    ) -> None:
        self.name = name
        self._service = service
        self.offset = offset
        self._log = log
        with log.open("ab") as file:
            self._popen = subprocess.Popen(
                command, env=environ, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._popen.pid

    @property
    def endpoint(self) -> Endpoint:
        """Ports of its service, of the ingest-service where it runs all."""
        if (name := self.name.replace("_", "-")) in PROCESS_PORTS:
            return process_endpoint(name, self.offset).on("127.0.0.1")
        return PORTS[self._service].shifted(self.offset).on("127.0.0.1")

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._popen.poll() is None

    def ready(self) -> bool:
        """Whether it answers 200 on `/ready` of its management port now."""
        return _get_status(self.endpoint.management_port, "/ready") == http.client.OK

    def wait_ready(self, within_s: float = READY_WITHIN_S) -> Self:
        """Return when it is ready. Raises StackError when it ends before, or takes too long."""
        with self._explained():
            wait_until(lambda: not self.alive or self.ready(), within_s, f"{self.name} ready")
            if not self.alive:
                raise AssertionError(f"{self.name} ended with {self._popen.returncode} before it was ready")
        return self

    def wait(self, within_s: float = READY_WITHIN_S) -> int:
        """Return its exit code, negative for a signal, when it has ended by itself."""
        with self._explained():
            wait_until(lambda: not self.alive, within_s, f"{self.name} ended")
        return int(self._popen.returncode)

    def kill(self) -> None:
        """SIGKILL, also when it is stopped; returns when it is gone."""
        self._popen.kill()
        self._popen.wait(STOPPED_WITHIN_S)

    def stop(self, within_s: float = STOPPED_WITHIN_S) -> None:
        """SIGTERM. Raises StackError unless it ends with 0."""
        self._popen.terminate()
        if (code := self.wait(within_s)) != 0:
            with self._explained():
                raise AssertionError(f"{self.name} ended with {code} on SIGTERM")

    def pause(self) -> None:
        """SIGSTOP: it stands still wherever it is."""
        os.kill(self.pid, signal.SIGSTOP)

    def pause_holding(self, lock: Path, within_s: float = 2 * READY_WITHIN_S) -> None:
        """SIGSTOP while it holds the flock on the file `lock`, which exists: in the middle of what that guards."""
        inode = lock.stat().st_ino

        def caught() -> bool:
            self.pause()
            if _holds(self.pid, inode):
                return True
            self.resume()
            return False

        wait_until(caught, within_s, f"{self.name} stopped with {lock.name} held")

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def log(self) -> str:
        """What it has logged and printed so far."""
        return self._log.read_text(errors="replace")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except AssertionError as error:
            raise StackError(f"{error}; its log ends with:\n{self.log()[-_LOG_SHOWN:]}") from None


class Stack:
    """Processes of one installation below the directory `home`: data in `home/data`, logs beside it.

    `environ` is added to each process's environment, on top of this process's without MILLRACE_* and OTEL_*.
    Leaving the block kills what still runs, by process id, whatever happened.
    """

    def __init__(self, home: Path, **environ: str) -> None:
        self.data = home / "data"
        self._logs = home / "process-logs"
        self._environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "OTEL_"))
        }
        self._environ |= environ
        self._processes: list[Process] = []
        self._auth: Process | None = None

    @classmethod
    def embedded(cls, home: Path, **environ: str) -> Self:
        """With embedded backends, so that nothing has to be installed."""
        home.mkdir(parents=True, exist_ok=True)
        return cls(home, **environ)

    @staticmethod
    def real(home: Path, servers: RealStack | None = None, **environ: str) -> RealInstallation:
        """With real servers: those given, else its own."""
        from millrace_testkit.real_mode import RealInstallation

        home.mkdir(parents=True, exist_ok=True)
        return RealInstallation(home, servers, kept=False, **environ)

    def __enter__(self) -> Self:
        self.data.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Kill every process of this stack, by its id, and return when all are gone."""
        for process in self._processes:
            process.kill()

    def door(self, **settings: str) -> Process:
        """A webhook door; each setting `x` is its variable MILLRACE_x."""
        return self._module("webhook", {"BUS": f"journal:{self.data}", "WEBHOOK_HOST": "127.0.0.1"}, settings)

    def lake_writer(self, **settings: str) -> Process:
        """A landing process."""
        return self._module("lake_writer", {"DATA": str(self.data), "BUS": self.bus}, settings)

    def maintenance(self, **settings: str) -> Process:
        """A keeper of the lake."""
        leases = f"local:{self.data / 'metadata' / 'leases'}"
        return self._module("maintenance", {"DATA": str(self.data), "COORDINATION": leases}, settings)

    def auth(self, **settings: str) -> Process:
        """An auth-service; the ones started after it check their keys there."""
        own = {"AUTH_DATABASE_URL": self.database("auth"), "CREDENTIALS_FILE": str(self.credentials)}
        self._auth = self._module("server", own | _LOCAL, settings, "auth-service")
        return self._auth

    def ids(self, **settings: str) -> Process:
        """An id-service with the tag of the demo workspace."""
        own = {"ID_DATABASE_URL": self.database("ids"), "ID_SEED_DEMO": "1", "AUTH_URL": self.auth_address}
        return self._module("server", own | _LOCAL, settings, "id-service")

    def query(self, **settings: str) -> Process:
        """A query-service over this installation's lake."""
        own = {"LAKE": str(self.data / "parquet"), "AUTH_URL": self.auth_address}
        return self._module("server", own | _LOCAL, settings, "query-service")

    @property
    def credentials(self) -> Path:
        """The file with the keys of the first start."""
        return self.data / "credentials.json"

    @property
    def auth_address(self) -> str:
        """host:port of the gRPC of the auth-service that was started last; nobody's before."""
        return "127.0.0.1:1" if self._auth is None else f"127.0.0.1:{self._auth.endpoint.grpc_port}"

    def database(self, name: str) -> str:
        """URL of a relational database of this installation."""
        return f"sqlite+aiosqlite:///{self.data / 'metadata' / name}.sqlite"

    def up(self, **settings: str) -> Process:
        """`millrace up`: everything in one process, without the sample."""
        offset = free_offset()
        command = [
            *(str(Path(sys.executable).with_name("millrace")), "up", "--data", str(self.data)),
            *("--port-offset", str(offset), "--no-sample"),
        ]
        return self._start("up", command, settings, offset)

    def script(self, path: Path, **settings: str) -> Process:
        """A script of a test as another landing process; gets the settings of `lake_writer`."""
        own = {"DATA": str(self.data), "BUS": self.bus}
        return self._start(path.stem, [sys.executable, str(path)], {**own, **settings}, 0)

    @property
    def bus(self) -> str:
        """MILLRACE_BUS of this installation."""
        return f"journal:{self.data}"

    def wait_landed(self, within_s: float = LANDED_WITHIN_S) -> None:
        """Return when the lake holds every line of the journals that may be read."""
        left: dict[str, str] = {}

        def done() -> bool:
            nonlocal left
            left = self._left()
            return not left

        try:
            wait_until(done, within_s, "every journal line in the lake")
        except AssertionError as error:
            logs = "\n".join(f"--- {p.name}:\n{p.log()[-_LOG_SHOWN:]}" for p in self._processes)
            raise StackError(f"{error}; left: {left}\n{logs}") from None

    def _left(self) -> dict[str, str]:
        """What is not in the lake yet."""
        return unlanded(self.data)

    def _module(
        self, name: str, own: dict[str, str], settings: dict[str, str], service: str = "ingest-service"
    ) -> Process:
        offset = int(settings["PORT_OFFSET"]) if "PORT_OFFSET" in settings else free_offset()
        command = [sys.executable, "-m", f"{service.replace('-', '_')}.processes.{name}"]
        all_settings = {"PORT_OFFSET": str(offset), **own, **settings}
        return self._start(name, command, all_settings, offset, service)

    def _start(
        self,
        name: str,
        command: list[str],
        settings: dict[str, str],
        offset: int,
        service: str = "ingest-service",
    ) -> Process:
        environ = self._environ | {f"MILLRACE_{key}": value for key, value in settings.items()}
        title = service if name == "server" else name
        log = self._logs / f"{len(self._processes):03d}-{title}.log"
        process = Process(title, command, environ, log, offset, service)
        self._processes.append(process)
        return process


def _holds(pid: int, inode: int) -> bool:
    """Whether the process holds a lock on the file with this inode (proc_locks(5))."""
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[1] == "FLOCK" and fields[4] == str(pid) and fields[5].endswith(f":{inode}"):
            return True
    return False


def _get_status(port: int, path: str) -> int:
    """Status of a GET on this host, 0 when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
