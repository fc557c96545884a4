"""One server as a process: started, stopped, killed, paused and continued by its process id."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

import psutil

from millrace_testkit.real.home import Home

READY_WITHIN_S = 120.0
STOPPED_WITHIN_S = 30.0
_LOOK_EVERY_S = 0.05
_LOG_SHOWN = 3_000


class ServerError(AssertionError):
    """A server did not do what it was asked for; the text ends with the tail of its log."""


class Server(ABC):
    """A server on this host whose port and data stay the same from start to start.

    Not started by being made. Each method returns when the server is there, or gone.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    """What makes it end in good order."""
    end_signal: ClassVar[signal.Signals] = signal.SIGKILL
    """What ends it at once, leaving nothing outside its directory; its data is not needed any more."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._directory = home.path / self.name
        self._log = home.path / f"{self.name}.log"
        self._popen: subprocess.Popen[bytes] | None = None
        self._paused = False
        self._lock = threading.RLock()

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it."""

    @abstractmethod
    def _prepare(self) -> None:
        """Make data directory and settings for the first start."""

    def _configure(self) -> None:  # noqa: B027 most have options alone
        """Write the settings of one start."""

    def _first_ready(self) -> None:  # noqa: B027 most need nothing
        """What the server itself must be told, once, when it serves for the first time."""

    @abstractmethod
    def _command(self) -> list[str]:
        """Program and arguments of one start."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it serves a client now, asked as a client would; never raises for one that does not."""

    @property
    def pid(self) -> int:
        """Process id. Raises ServerError when it does not run."""
        if not self.running:
            raise ServerError(f"{self.name} does not run")
        assert self._popen is not None
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether the process is there, paused or not."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def started(self) -> bool:
        """Whether it was ever started, running or not."""
        return self._popen is not None

    def start(self) -> Self:
        """Start it unless it runs, and return when it serves. Raises ServerError, BackendMissingError."""
        with self._lock:
            if not self.running:
                # Beside its own directory: a home may hold several servers of one kind.
                prepared = self._directory.with_name(f"{self._directory.name}.prepared")
                if not prepared.exists():
                    shutil.rmtree(
                        self._directory, ignore_errors=True
                    )  # of a start that did not come that far
                    self._prepare()
                else:
                    self._configure()
                self._launch()
                self.wait_ready()
                if not prepared.exists():
                    self._first_ready()
                    prepared.touch()
            self.wait_ready()
        return self

    def wait_ready(self, within_s: float = READY_WITHIN_S) -> None:
        """Return when it serves. Raises ServerError when it ends before, or takes too long."""
        end = time.monotonic() + within_s
        while not self.answers():
            if not self.running:
                raise ServerError(f"{self.name} ended before it was ready{self._tail()}")
            if time.monotonic() > end:
                raise ServerError(f"{self.name} not ready within {within_s:g} s{self._tail()}")
            time.sleep(_LOOK_EVERY_S)

    def stop(self) -> None:
        """End it in good order; clients see their connections closed. Nothing when it does not run."""
        with self._lock:
            if self.running:
                self.resume()
                os.kill(self.pid, self.stop_signal)
                self._wait_gone()

    def kill(self) -> None:
        """SIGKILL to it and its children at once, as when its host loses power but keeps its disk cache."""
        with self._lock:
            if self.running:
                self._signal_tree(signal.SIGKILL)
                self._wait_gone()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing is answered, once this returns."""
        self._paused = True
        self._signal_tree(signal.SIGSTOP)
        # A thread that is inside the kernel, or waits for a processor, stops a moment later.
        end = time.monotonic() + STOPPED_WITHIN_S
        while not self._stands_still() and time.monotonic() < end:
            time.sleep(_LOOK_EVERY_S)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal_tree(signal.SIGCONT)
        self._paused = False

    def end(self) -> None:
        """End it for good: at once, or in good order when its data are kept."""
        with self._lock:
            if self.running:
                self.resume()
                os.kill(self.pid, self._last_signal)
                self._wait_gone()

    def heal(self) -> None:
        """Return when it runs and serves, whatever was done to it before."""
        if self._paused and self.running:
            self.resume()
            self.wait_ready()
        elif not self.running:
            self.start()

    @property
    def log_path(self) -> Path:
        """Where its output goes."""
        return self._log

    def log(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def _user(self) -> str | None:
        """Who it runs as, None for this process's user."""
        return None

    @property
    def _last_signal(self) -> signal.Signals:
        return self.stop_signal if self._home.kept else self.end_signal

    def _launch(self) -> None:
        user = self._user()
        with self._log.open("ab") as log:
            self._popen = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                start_new_session=True,  # Ctrl-C is for the tests, which then end it
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
        self._paused = False
        self._home.watch(self._popen.pid, self._last_signal)

    def _signal_tree(self, which: signal.Signals) -> None:
        """The process itself first: a parent that lives starts children anew."""
        process = psutil.Process(self.pid)
        with contextlib.suppress(psutil.NoSuchProcess):
            children = process.children(recursive=True)
            process.send_signal(which)
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.send_signal(which)

    def _stands_still(self) -> bool:
        """Whether every thread of the process and its children is stopped."""
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            for each in (process, *process.children(recursive=True)):
                for task in Path(f"/proc/{each.pid}/task").glob("*/stat"):
                    with contextlib.suppress(OSError):
                        if task.read_text().rpartition(")")[2].split()[0] not in "Tt":
                            return False
        return True

    def _wait_gone(self) -> None:
        assert self._popen is not None
        pid = self._popen.pid
        try:
            self._popen.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            raise ServerError(
                f"{self.name} did not end within {STOPPED_WITHIN_S:g} s{self._tail()}"
            ) from None
        self._home.forget(pid)

    def _tail(self) -> str:
        return f"; its log ends with:\n{self.log()[-_LOG_SHOWN:]}"

    @property
    def directory(self) -> Path:
        """Where its settings and data are."""
        return self._directory
