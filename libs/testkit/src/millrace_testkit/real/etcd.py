"""etcd, one member."""

from __future__ import annotations

import http.client
import itertools
import json
from collections.abc import Callable

from millrace_testkit.ports import free_port
from millrace_testkit.real import programs
from millrace_testkit.real.home import Home
from millrace_testkit.real.server import Server, ServerError

_ANSWER_WITHIN_S = 2.0
_DONE_WITHIN_S = 30.0
_ALL = "AA=="  # a zero byte: as a range from it to it, every key


class EtcdServer(Server):
    """A cluster of one member, without TLS and without users."""

    name = "etcd"
    _scheme = "http"

    def __init__(self, home: Home, ports: Callable[[], int] = free_port) -> None:
        super().__init__(home)
        self.port = ports()
        self._peer_port = ports()
        self._numbers = itertools.count(1)

    @property
    def url(self) -> str:
        """The client port."""
        return f"etcd://127.0.0.1:{self.port}"

    def new_prefix(self) -> str:
        """A prefix of keys that no test was given before."""
        return f"test-{next(self._numbers)}/"

    def delete_keys(self) -> None:
        """Delete every key. Raises ServerError."""
        self._post("kv/deleterange", key=_ALL, range_end=_ALL)

    def _post(self, call: str, **message: str) -> None:
        """Call etcd by its JSON gateway."""
        connection = self._connection(_DONE_WITHIN_S)
        try:
            connection.request("POST", f"/v3/{call}", json.dumps(message))
            answer = connection.getresponse()
            if answer.status != http.client.OK:
                raise ServerError(f"etcd {call}: {answer.status} {answer.read()!r}")
        finally:
            connection.close()

    def _prepare(self) -> None:
        programs.etcd()
        self._directory.mkdir()

    def _command(self) -> list[str]:
        return [programs.etcd(), *(f"--{name}={value}" for name, value in self._settings().items())]

    def _settings(self) -> dict[str, str]:
        clients, peers = f"{self._scheme}://127.0.0.1:{self.port}", f"http://127.0.0.1:{self._peer_port}"
        return {
            "data-dir": str(self._directory / "data"),
            "name": "one",
            "listen-client-urls": clients,
            "advertise-client-urls": clients,
            "listen-peer-urls": peers,
            "initial-advertise-peer-urls": peers,
            "initial-cluster": f"one={peers}",
            "logger": "zap",
            "log-level": "warn",
        }

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)

    def answers(self) -> bool:
        connection = self._connection(_ANSWER_WITHIN_S)
        try:
            connection.request("GET", "/health")
            answer = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):
            return False
        else:
            return bool(answer.get("health") == "true")
        finally:
            connection.close()
