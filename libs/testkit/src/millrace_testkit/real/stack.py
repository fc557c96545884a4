"""The four servers together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from millrace_testkit.ports import free_port
from millrace_testkit.real.etcd import EtcdServer
from millrace_testkit.real.kafka import KafkaServer
from millrace_testkit.real.postgresql import PostgresqlServer
from millrace_testkit.real.redis import RedisServer
from millrace_testkit.real.server import Server
from millrace_testkit.real.servers import Servers


class RealStack(Servers):
    """Kafka, PostgreSQL, Redis and etcd, each empty, on ports and in a directory of their own.

    Each server is a `Server`, to be stopped, killed or paused by itself:
    `stack.kafka_server.kill()`. With a `directory` they go on with the data that they have left there, and sync
    what they write; `ports` gives the eight ports that they listen on, one after the other.
    """

    def __init__(self, directory: Path | None = None, ports: Callable[[], int] = free_port) -> None:
        super().__init__(directory)
        self.kafka_server = KafkaServer(self._home, ports)
        self.postgresql_server = PostgresqlServer(self._home, ports)
        self.redis_server = RedisServer(self._home, ports)
        self.etcd_server = EtcdServer(self._home, ports)

    @property
    def kafka(self) -> str:
        """Bootstrap server as `127.0.0.1:port`."""
        return self.kafka_server.bootstrap

    @property
    def postgresql(self) -> str:
        """SQLAlchemy URL without a driver, `postgresql://user@127.0.0.1:port/db`, of a database that tests share."""
        return self.postgresql_server.url

    @property
    def redis(self) -> str:
        """`redis://127.0.0.1:port/0`, which tests share."""
        return self.redis_server.url

    @property
    def etcd(self) -> str:
        """`etcd://127.0.0.1:port`."""
        return self.etcd_server.url

    def new_database(self) -> str:
        """URL of an empty PostgreSQL database that no test was given before."""
        return self.postgresql_server.new_database()

    def new_redis(self) -> str:
        """URL of an empty Redis database that no test was given before."""
        return self.redis_server.new_database()

    def new_topic_prefix(self) -> str:
        """A prefix for names of topics and groups that no test was given before."""
        return self.kafka_server.new_prefix()

    def new_etcd_prefix(self) -> str:
        """A prefix of etcd keys that no test was given before."""
        return self.etcd_server.new_prefix()

    def _all(self) -> Sequence[Server]:
        return (self.kafka_server, self.postgresql_server, self.redis_server, self.etcd_server)
