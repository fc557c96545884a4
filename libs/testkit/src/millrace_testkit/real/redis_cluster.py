"""A Redis cluster of three nodes, without replicas."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from typing import Any

from millrace_testkit.ports import free_port
from millrace_testkit.real import programs
from millrace_testkit.real.home import Home
from millrace_testkit.real.redis import RedisServer
from millrace_testkit.real.secured.certificates import Certificates
from millrace_testkit.real.server import ServerError

_JOINED_WITHIN_S = 60.0
_LOOK_EVERY_S = 0.05


class RedisClusterNode(RedisServer):
    """One node. It serves its own slots also while others are away. With certificates it wants TLS of everybody."""

    def __init__(self, home: Home, number: int, certificates: Certificates | None) -> None:
        super().__init__(home)
        self._directory = home.path / f"redis-cluster-{number}"
        self._log = home.path / f"redis-cluster-{number}.log"
        self._bus_port = free_port()
        self._certificates = certificates

    def _command(self) -> list[str]:
        options = {
            "databases": "1",
            "cluster-enabled": "yes",
            "cluster-port": str(self._bus_port),
            "cluster-node-timeout": "2000",
            "cluster-require-full-coverage": "no",
        }
        return [programs.redis_server(), *self._options(**options, **self._listener())]

    def _listener(self) -> dict[str, str]:
        if self._certificates is None:
            return {"port": str(self.port)}
        return {
            "port": "0",
            "tls-port": str(self.port),
            "tls-cluster": "yes",
            "tls-auth-clients": "no",
            "tls-cert-file": str(self._certificates.certificate("server")),
            "tls-key-file": str(self._certificates.key("server")),
            "tls-ca-cert-file": str(self._certificates.ca),
        }

    def _client_options(self) -> dict[str, Any]:
        if self._certificates is None:
            return {}
        return {"ssl": True, "ssl_ca_certs": str(self._certificates.ca)}

    def key_count(self) -> int:
        """Keys that this node holds."""
        return int(self.cli("DBSIZE"))

    def cli(self, *arguments: str) -> str:
        """What `redis-cli` prints. Raises ServerError when it fails."""
        tls = [] if self._certificates is None else ["--tls", "--cacert", str(self._certificates.ca)]
        done = subprocess.run(
            [programs.redis_cli(), "-p", str(self.port), *tls, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=_JOINED_WITHIN_S,
        )
        if done.returncode != 0:
            raise ServerError(f"redis-cli {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout


class RedisClusterServers:
    """Three nodes that share the slots. Each is a `Server`, to be stopped, killed or paused by itself."""

    def __init__(self, home: Home, certificates: Certificates | None = None) -> None:
        self.nodes: Sequence[RedisClusterNode] = [
            RedisClusterNode(home, number, certificates) for number in range(3)
        ]
        self._scheme = "redis+cluster" if certificates is None else "rediss+cluster"

    @property
    def url(self) -> str:
        """All nodes."""
        return f"{self._scheme}://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self) -> None:
        """Start the nodes, join them, and return when they serve all slots. Raises ServerError."""
        for node in self.nodes:
            node.start()
        addresses = [f"127.0.0.1:{node.port}" for node in self.nodes]
        self.nodes[0].cli("--cluster", "create", *addresses, "--cluster-yes")
        end = time.monotonic() + _JOINED_WITHIN_S
        while not all(_knows_all(node) for node in self.nodes):
            if time.monotonic() > end:
                raise ServerError(f"the Redis cluster was not joined within {_JOINED_WITHIN_S:g} s")
            time.sleep(_LOOK_EVERY_S)

    def empty(self) -> None:
        """Remove all keys."""
        for node in self.nodes:
            node.cli("FLUSHALL")

    def heal(self) -> None:
        """Bring back every node, whatever a test did to it."""
        for node in self.nodes:
            node.heal()

    def end(self) -> None:
        """End all nodes at once."""
        for node in self.nodes:
            node.end()


def _knows_all(node: RedisClusterNode) -> bool:
    """Each node serves its slots once it has heard of all others."""
    info = node.cli("CLUSTER", "INFO")
    return "cluster_state:ok" in info and "cluster_slots_ok:16384" in info
