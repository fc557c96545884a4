"""Coordination on a real etcd: the contracts, and servers and settings that do not fit."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from aetcd.rpc import rpc_pb2, rpc_pb2_grpc

from millrace_ports.coordination import (
    Coordination,
    CoordinationRefusedError,
    EtcdSecurity,
    Lease,
    open_coordination,
)
from millrace_testkit.contracts.coordination import LeaseContract
from millrace_testkit.contracts.coordination_keys import KeyContract
from millrace_testkit.eventually import eventually_true
from millrace_testkit.real.etcd import EtcdServer
from millrace_testkit.real.raw_etcd import RawEtcd

pytestmark = pytest.mark.real

WITHIN_S = 30.0


class TestLeases(LeaseContract):
    @pytest.fixture
    def coordination(
        self, etcd_clients: tuple[Coordination, Coordination], raw: RawEtcd
    ) -> tuple[Coordination, Coordination]:
        self.raw = raw
        return etcd_clients

    async def let_pass(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def take_away(self, lease: Lease) -> None:
        await self.raw.delete(b"/millrace/leases/" + lease.name.encode())


class TestKeys(KeyContract):
    @pytest.fixture
    def coordination(
        self, etcd_clients: tuple[Coordination, Coordination], raw: RawEtcd
    ) -> tuple[Coordination, Coordination]:
        self.raw = raw
        return etcd_clients

    async def forget_history(self, client: Coordination) -> None:
        await self.raw.forget_history()


async def test_a_refused_acquisition_leaves_no_lease_behind(
    raw: RawEtcd, etcd_clients: tuple[Coordination, Coordination]
) -> None:
    mine, theirs = etcd_clients
    before = await raw.leases()
    results = await asyncio.gather(
        *(client.acquire("maintenance", 3600.0, "host") for _ in range(20) for client in (mine, theirs))
    )
    assert sum(lease is not None for lease in results) == 1

    async def one_lease() -> bool:
        return len(await raw.leases() - before) == 1

    await eventually_true(one_lease, WITHIN_S, "one lease is left")


async def test_an_old_server_is_refused() -> None:
    class Old(rpc_pb2_grpc.MaintenanceServicer):  # type: ignore[misc]
        async def Status(self, request: object, context: object) -> rpc_pb2.StatusResponse:  # noqa: N802
            return rpc_pb2.StatusResponse(version="3.3.27")

    server = grpc.aio.server()
    rpc_pb2_grpc.add_MaintenanceServicer_to_server(Old(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    client = open_coordination(f"etcd://127.0.0.1:{port}")
    with pytest.raises(CoordinationRefusedError, match=r"MILLRACE_COORDINATION.*3\.3\.27.*3\.4"):
        await client.get("k")
    await client.close()
    await server.stop(grace=None)


async def test_a_user_where_there_are_none_is_told(real_etcd: EtcdServer) -> None:
    client = open_coordination(real_etcd.url, etcd=EtcdSecurity(username="somebody", password="wrong-secret"))
    with pytest.raises(CoordinationRefusedError, match="MILLRACE_ETCD_USERNAME") as caught:
        await client.get("k")
    assert "wrong-secret" not in str(caught.value)
    await client.close()
