"""Clients of the shared etcd."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from millrace_ports.coordination import Coordination, open_coordination
from millrace_testkit.real.etcd import EtcdServer
from millrace_testkit.real.etcd_cluster import EtcdClusterServers
from millrace_testkit.real.home import Home
from millrace_testkit.real.raw_etcd import RawEtcd


@pytest.fixture
async def raw(real_etcd: EtcdServer) -> AsyncIterator[RawEtcd]:
    """etcd itself, emptied of what is Millrace's."""
    etcd = RawEtcd(real_etcd.port)
    await etcd.empty()
    yield etcd
    await etcd.close()


@pytest.fixture
async def etcd_clients(
    real_etcd: EtcdServer, raw: RawEtcd
) -> AsyncIterator[tuple[Coordination, Coordination]]:
    """Two clients of an etcd without keys."""
    clients = open_coordination(real_etcd.url), open_coordination(real_etcd.url)
    yield clients
    for client in clients:
        await client.close()


@pytest.fixture
def etcd_cluster(real_etcd: EtcdServer) -> Iterator[EtcdClusterServers]:
    """Three members that all serve; `real_etcd` has skipped where etcd is not installed."""
    home = Home()
    cluster = EtcdClusterServers(home)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()
        home.close()
