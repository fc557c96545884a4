"""Several servers that start together, in one temporary directory, and end together."""

from __future__ import annotations

import atexit
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from millrace_testkit.real.home import Home
from millrace_testkit.real.server import Server


class Servers(ABC):
    """Nothing runs before `start`. All is gone and removed after `end`, at the end of this process, and when it is
    killed; data in a `directory` that is given are kept."""

    def __init__(self, directory: Path | None = None) -> None:
        self._home = Home(directory)
        atexit.register(self.end)

    @abstractmethod
    def _all(self) -> Sequence[Server]:
        """Each server, started or not."""

    @property
    def servers(self) -> Mapping[str, Server]:
        """Each server by its name."""
        return MappingProxyType({server.name: server for server in self._all()})

    def start(self, *names: str) -> Self:
        """Start these servers, all by default, at the same time; return when all serve.

        Raises BackendMissingError for one that is not installed, ServerError for one that does not come up.
        """
        wanted = [self.servers[name] for name in names] or list(self._all())
        with ThreadPoolExecutor(len(wanted)) as pool:
            for started in [pool.submit(server.start) for server in wanted]:
                started.result()
        return self

    def watch(self, pid: int, signal_number: int) -> None:
        """End another process, too, when this one is gone."""
        self._home.watch(pid, signal_number)

    def heal(self) -> None:
        """Bring back every server that was started, whatever a test did to it."""
        for server in self._all():
            if server.started:
                server.heal()

    def end(self) -> None:
        """End every server by its process id and remove the data, unless they are kept."""
        atexit.unregister(self.end)
        for server in self._all():
            server.end()
        self._home.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
