"""Redis with an append-only file, so that what it acknowledged is there after a kill."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from millrace_testkit.ports import free_port
from millrace_testkit.real import programs
from millrace_testkit.real.home import Home
from millrace_testkit.real.server import Server

_DATABASES = 4096
_ANSWER_WITHIN_S = 2.0


class RedisServer(Server):
    """One node, no password."""

    name = "redis"

    def __init__(self, home: Home, ports: Callable[[], int] = free_port) -> None:
        super().__init__(home)
        self.port = ports()
        self._numbers = itertools.count(1)

    @property
    def url(self) -> str:
        """Database 0, which tests share: use it where the name does not matter, or with keys of its own."""
        return f"redis://127.0.0.1:{self.port}/0"

    def new_database(self) -> str:
        """URL of a database that no test was given before."""
        return f"redis://127.0.0.1:{self.port}/{next(self._numbers)}"

    def _prepare(self) -> None:
        programs.redis_server()
        self._directory.mkdir()

    def _command(self) -> list[str]:
        return [programs.redis_server(), *self._options(port=str(self.port))]

    def _options(self, **more: str) -> list[str]:
        settings = {
            "bind": "127.0.0.1",
            "dir": str(self._directory),
            "databases": str(_DATABASES),
            "appendonly": "yes",
            # Redis leaves a write to a later moment while a sync runs in the background: acknowledged, not
            # yet written, lost with the process. It never does when it syncs before each answer.
            "appendfsync": "always",
            "save": "",
        }
        return [word for name, value in (settings | more).items() for word in (f"--{name}", value)]

    def _client_options(self) -> dict[str, Any]:
        """How to connect, beyond the port."""
        return {}

    def answers(self) -> bool:
        import redis  # clients are imported where used: a run without real servers needs none of them
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        try:
            with redis.Redis(
                port=self.port,
                socket_timeout=_ANSWER_WITHIN_S,
                retry=Retry(NoBackoff(), 0),
                **self._client_options(),
            ) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
