"""The processes that run statements, as the service has them: started when needed, ended when they do not answer.

Everything here blocks; a worker belongs to one thread at a time.
"""

import os
import subprocess
import sys
import threading
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self

import msgspec

from millrace_runtime.logs import get_logger
from query_service.sql.protocol import Message, Ready, WorkerSettings, receive, send

log = get_logger(__name__)

START_S = 60.0
"""For a worker to be ready; it takes less than a second on an idle machine."""

Places = tuple[tuple[int, int] | None, ...]


class WorkerGoneError(Exception):
    """The worker ended, or did not answer in time and was ended."""

    def __init__(self, *, late: bool) -> None:
        super().__init__("no answer in time" if late else "the worker ended")
        self.late = late


class WorkerStartError(Exception):
    """A worker did not come up; what it says of that is in the service's own stderr."""


class Worker:
    """One process. Every method raises `WorkerGoneError` once it has gone."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.places = _places(settings)
        ours, theirs = Pipe()
        self._connection: Connection[bytes, bytes] = ours
        with theirs:
            # A list of its own, so that no secret of the service's environment is in a process that runs SQL.
            kept = {
                name: os.environ[name]
                for name in ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH")
                if name in os.environ
            }
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "query_service.sql.worker",
                    str(theirs.fileno()),
                    msgspec.json.encode(settings).decode(),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd=settings.scratch,
                env={**kept, "LANG": "C.UTF-8", "TZ": "UTC", "MALLOC_ARENA_MAX": "2"},
            )
        try:
            ready = self.receive(START_S)
        except WorkerGoneError as error:
            raise WorkerStartError from error
        assert isinstance(ready, Ready)
        self.landlock = ready.landlock

    def send(self, message: Message) -> None:
        """Give it something to do."""
        try:
            send(self._connection, message)
        except OSError:
            self.end()
            raise WorkerGoneError(late=False) from None

    def receive(self, within_s: float) -> Message:
        """What it answers; it is ended when that takes longer."""
        self._wait(within_s)
        try:
            return receive(self._connection)
        except (EOFError, OSError, msgspec.DecodeError):
            self.end()
            raise WorkerGoneError(late=False) from None

    def receive_bytes(self, within_s: float) -> bytes:
        """The bytes that follow an answer."""
        self._wait(within_s)
        try:
            return self._connection.recv_bytes()
        except (EOFError, OSError):
            self.end()
            raise WorkerGoneError(late=False) from None

    def _wait(self, within_s: float) -> None:
        try:
            answered = self._connection.poll(within_s)
        except OSError:
            answered = True  # reading tells
        if not answered:
            self.end()
            raise WorkerGoneError(late=True)

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None and not self._connection.closed

    def end(self) -> None:
        """End the process, whatever it does."""
        with suppress(OSError):
            self._connection.close()
        self._process.kill()
        self._process.wait()

    @property
    def process_id(self) -> int:
        """Of the operating system."""
        return self._process.pid


class Workers:
    """Idle workers, kept for the next statement. Thread-safe; `close` ends them.

    A worker may read the directories that were there when it started: when one of them is another since, a new worker
    takes its place.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._idle: list[Worker] = []
        self._lock = threading.Lock()
        self._told = False
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def take(self) -> Worker:
        """A worker for this thread; give it back, or end it."""
        places = _places(self._settings)
        while True:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                break
            if worker.alive and worker.places == places:
                return worker
            worker.end()
        worker = Worker(self._settings)
        if not self._told:
            self._told = True
            if worker.landlock:
                log.info("sql_confined", landlock=worker.landlock)
            else:
                log.warning("sql_without_landlock", reason="the kernel does not offer it")
        return worker

    def give_back(self, worker: Worker) -> None:
        """Keep it for the next statement, if it lives."""
        with self._lock:
            if worker.alive and not self._closed:
                self._idle.append(worker)
                return
        worker.end()

    def close(self) -> None:
        """End the idle workers, and every other when it is given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.end()


def _places(settings: WorkerSettings) -> Places:
    """What tells the directories that a worker may read from later ones of the same names."""
    return tuple(map(_identity, map(Path, settings.roots)))


def _identity(directory: Path) -> tuple[int, int] | None:
    try:
        found = directory.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
