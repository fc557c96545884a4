"""Redis servers beside the shared one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from millrace_testkit.real.home import Home
from millrace_testkit.real.redis import RedisServer
from millrace_testkit.real.redis_cluster import RedisClusterServers
from millrace_testkit.real.secured.certificates import Certificates
from millrace_testkit.real.secured.redis import SecuredRedis


@contextmanager
def joined(home: Home, certificates: Certificates | None = None) -> Iterator[RedisClusterServers]:
    """A cluster that serves; its processes and data are gone afterwards."""
    cluster = RedisClusterServers(home, certificates)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()
        home.close()


@pytest.fixture(scope="session")
def _redis_cluster(real_redis: RedisServer) -> Iterator[RedisClusterServers]:
    """Started once; `real_redis` has skipped where Redis is not installed."""
    with joined(Home()) as cluster:
        yield cluster


@pytest.fixture
def redis_cluster(_redis_cluster: RedisClusterServers) -> RedisClusterServers:
    """A cluster of three nodes that all serve, without keys."""
    _redis_cluster.heal()
    _redis_cluster.empty()
    return _redis_cluster


@pytest.fixture
def secured_redis_cluster(secured_redis: SecuredRedis) -> Iterator[RedisClusterServers]:
    """A cluster of three nodes behind TLS, with the certificates of `secured_redis`."""
    with joined(Home(), secured_redis.certificates) as cluster:
        yield cluster
