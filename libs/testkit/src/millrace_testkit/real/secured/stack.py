"""The four secured servers together."""

from __future__ import annotations

from collections.abc import Sequence

from millrace_testkit.real.secured.certificates import Certificates
from millrace_testkit.real.secured.etcd import SecuredEtcd
from millrace_testkit.real.secured.kafka import SecuredKafka
from millrace_testkit.real.secured.postgresql import SecuredPostgresql
from millrace_testkit.real.secured.redis import SecuredRedis
from millrace_testkit.real.server import Server
from millrace_testkit.real.servers import Servers


class SecuredStack(Servers):
    """Kafka (SASL_SSL), PostgreSQL, Redis and etcd that ask for TLS and a password, each of its own.

    `OWNER` may do everything, `LIMITED` may log in alone; `certificates` are the files that clients need.
    """

    def __init__(self) -> None:
        super().__init__()
        self.certificates = Certificates.make(self._home.path / "certificates")
        self.kafka_server = SecuredKafka(self._home, self.certificates)
        self.postgresql_server = SecuredPostgresql(self._home, self.certificates)
        self.redis_server = SecuredRedis(self._home, self.certificates)
        self.etcd_server = SecuredEtcd(self._home, self.certificates)

    def _all(self) -> Sequence[Server]:
        return (self.kafka_server, self.postgresql_server, self.redis_server, self.etcd_server)
