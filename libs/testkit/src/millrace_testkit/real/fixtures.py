"""Fixtures over one set of real servers for the whole run, started when first asked for.

`real_stack` has all four, each `real_…` one of them; `secured_stack` and each `secured_…` are the same with TLS
and passwords. Where a server is not installed, the test is skipped with a
line that says how to install it; with MILLRACE_REQUIRE_REAL=1 that is a failure.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from millrace_testkit.backend_guard import FIXTURES
from millrace_testkit.real.etcd import EtcdServer
from millrace_testkit.real.kafka import KafkaServer
from millrace_testkit.real.postgresql import PostgresqlServer
from millrace_testkit.real.programs import BackendMissingError
from millrace_testkit.real.redis import RedisServer
from millrace_testkit.real.secured import SecuredStack
from millrace_testkit.real.secured.etcd import SecuredEtcd
from millrace_testkit.real.secured.kafka import SecuredKafka
from millrace_testkit.real.secured.postgresql import SecuredPostgresql
from millrace_testkit.real.secured.redis import SecuredRedis
from millrace_testkit.real.servers import Servers
from millrace_testkit.real.stack import RealStack

_shared = pytest.StashKey[list[Servers]]()


@pytest.fixture(scope="session")
def _real_servers(request: pytest.FixtureRequest) -> Iterator[RealStack]:
    """Nothing started yet."""
    with RealStack() as stack, _healed_between_tests(request.config, stack):
        yield stack


@pytest.fixture(scope="session")
def _secured_servers(request: pytest.FixtureRequest) -> Iterator[SecuredStack]:
    """Nothing started yet."""
    with SecuredStack() as stack, _healed_between_tests(request.config, stack):
        yield stack


@pytest.fixture(scope="session")
def real_stack(_real_servers: RealStack) -> RealStack:
    """Kafka, PostgreSQL, Redis and etcd, all serving."""
    return started(_real_servers)


@pytest.fixture(scope="session")
def real_kafka(_real_servers: RealStack) -> KafkaServer:
    """Kafka alone."""
    return started(_real_servers, "kafka").kafka_server


@pytest.fixture(scope="session")
def real_postgresql(_real_servers: RealStack) -> PostgresqlServer:
    """PostgreSQL alone."""
    return started(_real_servers, "postgresql").postgresql_server


@pytest.fixture(scope="session")
def real_redis(_real_servers: RealStack) -> RedisServer:
    """Redis alone."""
    return started(_real_servers, "redis").redis_server


@pytest.fixture(scope="session")
def real_etcd(_real_servers: RealStack) -> EtcdServer:
    """etcd alone."""
    return started(_real_servers, "etcd").etcd_server


@pytest.fixture(scope="session")
def secured_stack(_secured_servers: SecuredStack) -> SecuredStack:
    """The four secured servers, all serving."""
    return started(_secured_servers)


@pytest.fixture(scope="session")
def secured_kafka(_secured_servers: SecuredStack) -> SecuredKafka:
    """The secured Kafka alone."""
    return started(_secured_servers, "kafka").kafka_server


@pytest.fixture(scope="session")
def secured_postgresql(_secured_servers: SecuredStack) -> SecuredPostgresql:
    """The secured PostgreSQL alone."""
    return started(_secured_servers, "postgresql").postgresql_server


@pytest.fixture(scope="session")
def secured_redis(_secured_servers: SecuredStack) -> SecuredRedis:
    """The secured Redis alone."""
    return started(_secured_servers, "redis").redis_server


@pytest.fixture(scope="session")
def secured_etcd(_secured_servers: SecuredStack) -> SecuredEtcd:
    """The secured etcd alone."""
    return started(_secured_servers, "etcd").etcd_server


@pytest.fixture(autouse=True)
def _servers_back_after_the_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that ended while a server was away leaves it to the next one as it was."""
    yield
    if FIXTURES & set(request.fixturenames):
        for servers in request.config.stash.get(_shared, []):
            servers.heal()


@contextmanager
def _healed_between_tests(config: pytest.Config, servers: Servers) -> Iterator[None]:
    shared = config.stash.setdefault(_shared, [])
    shared.append(servers)
    try:
        yield
    finally:
        shared.remove(servers)


_Servers = TypeVar("_Servers", bound=Servers)


def started(servers: _Servers, *names: str) -> _Servers:
    """The same with these servers (all by default) serving; skips or fails where one is not installed."""
    try:
        return servers.start(*names)
    except BackendMissingError as missing:
        if os.environ.get("MILLRACE_REQUIRE_REAL") == "1":
            pytest.fail(f"{missing}; MILLRACE_REQUIRE_REAL=1 asks for it", pytrace=False)
        pytest.skip(str(missing))
