"""An etcd cluster of three members, of which any two are enough."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from millrace_testkit.real.etcd import EtcdServer
from millrace_testkit.real.home import Home


class EtcdMember(EtcdServer):
    """One member. It serves when it has found another one."""

    def __init__(self, home: Home, number: int) -> None:
        super().__init__(home)
        self.member = f"member-{number}"
        self.others: Sequence[EtcdMember] = ()
        self._directory = home.path / f"etcd-{self.member}"
        self._log = home.path / f"etcd-{self.member}.log"

    @property
    def peer_url(self) -> str:
        """Where the other members find it."""
        return f"http://127.0.0.1:{self._peer_port}"

    def _settings(self) -> dict[str, str]:
        members = sorted((self, *self.others), key=lambda member: member.member)
        return super()._settings() | {
            "name": self.member,
            "initial-cluster": ",".join(f"{member.member}={member.peer_url}" for member in members),
        }


class EtcdClusterServers:
    """Three members. Each is a `Server`, to be stopped, killed or paused by itself."""

    def __init__(self, home: Home) -> None:
        self.members = [EtcdMember(home, number) for number in range(3)]
        for member in self.members:
            member.others = [other for other in self.members if other is not member]

    @property
    def url(self) -> str:
        """All members."""
        return "etcd://" + ",".join(f"127.0.0.1:{member.port}" for member in self.members)

    def start(self) -> None:
        """Start all at the same time, since they wait for each other. Raises ServerError."""
        with ThreadPoolExecutor(len(self.members)) as pool:
            for started in [pool.submit(member.start) for member in self.members]:
                started.result()

    def end(self) -> None:
        """End all at once."""
        for member in self.members:
            member.end()
