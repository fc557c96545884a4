"""Leases in etcd: a key that exists while its etcd lease lives, made by whoever finds it absent.

The token is the revision in which the key was created: it rises with every acquisition, of any name, and etcd
keeps it over restarts. Nothing about a lease is kept here: each call looks at the key, and acts only if the
token is still the holder's.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc
from aetcd.rpc import kv_pb2, rpc_pb2

from millrace_ports.coordination.errors import CoordinationError, LeaseLostError
from millrace_ports.coordination.etcd.client import EtcdClient, Options
from millrace_ports.coordination.etcd.endpoints import Endpoint
from millrace_ports.coordination.etcd.names import lease_key
from millrace_ports.coordination.port import Lease
from millrace_ports.errors import PortError


class EtcdLeases:
    """The lease methods of the port. Times to live are rounded up to the seconds that etcd counts in."""

    def __init__(self, client: EtcdClient, *, boottime: Callable[[], float]) -> None:
        self._client = client
        self._boottime = boottime
        self._revoking: set[asyncio.Task[None]] = set()

    async def acquire(self, name: str, ttl_s: float, holder: str) -> Lease | None:
        """See the port. An attempt that fails gives the etcd lease that it was made with back."""
        if await self._held(name) is not None:
            return None
        deadline = self._boottime() + ttl_s
        request = rpc_pb2.LeaseGrantRequest(TTL=math.ceil(ttl_s))
        granted = await self._client.call(lambda at, options: at.lease.LeaseGrant(request, **options))
        lease = None
        try:
            token = await self._create(name, holder, granted.ID)
            if token is not None and self._boottime() < deadline:
                lease = Lease(name, token, holder, ttl_s, deadline)
        finally:
            if lease is None:
                self._revoke_soon(granted.ID)
        return lease

    async def renew(self, lease: Lease) -> Lease:
        """See the port."""
        etcd_lease = await self._own(lease)
        deadline = self._boottime() + lease.ttl_s
        answer = await self._client.call(lambda at, options: _kept_alive(at, options, etcd_lease))
        if answer.TTL <= 0 or self._boottime() >= deadline:
            raise LeaseLostError(lease.name, lease.token)
        return replace(lease, deadline=deadline)

    async def check(self, lease: Lease) -> None:
        """See the port."""
        await self._own(lease)

    async def release(self, lease: Lease) -> None:
        """See the port."""
        key = await self._held(lease.name)
        if key is not None and key.create_revision == lease.token:
            await self._revoke(key.lease)

    async def close(self) -> None:
        """Wait for leases that are being given back."""
        await asyncio.gather(*self._revoking)

    async def _held(self, name: str) -> kv_pb2.KeyValue | None:
        request = rpc_pb2.RangeRequest(key=lease_key(name))
        answer = await self._client.call(lambda at, options: at.kv.Range(request, **options))
        return answer.kvs[0] if answer.kvs else None

    async def _own(self, lease: Lease) -> int:
        """The etcd lease under the holder's key. Raises LeaseLostError when the key is gone or another's."""
        if self._boottime() >= lease.deadline:
            raise LeaseLostError(lease.name, lease.token)
        key = await self._held(lease.name)
        if key is None or key.create_revision != lease.token or self._boottime() >= lease.deadline:
            raise LeaseLostError(lease.name, lease.token)
        return int(key.lease)

    async def _create(self, name: str, holder: str, etcd_lease: int) -> int | None:
        key = lease_key(name)
        put = rpc_pb2.PutRequest(key=key, value=holder.encode(), lease=etcd_lease)
        request = rpc_pb2.TxnRequest(
            compare=[rpc_pb2.Compare(key=key, target=rpc_pb2.Compare.CREATE, create_revision=0)],
            success=[rpc_pb2.RequestOp(request_put=put)],
        )
        answer = await self._client.call(lambda at, options: at.kv.Txn(request, **options))
        return int(answer.header.revision) if answer.succeeded else None

    def _revoke_soon(self, etcd_lease: int) -> None:
        """In the background: the caller may be in the middle of being cancelled."""
        task = asyncio.create_task(self._revoke_quietly(etcd_lease))
        self._revoking.add(task)
        task.add_done_callback(self._revoking.discard)

    async def _revoke_quietly(self, etcd_lease: int) -> None:
        with contextlib.suppress(PortError):  # then it runs out
            await self._revoke(etcd_lease)

    async def _revoke(self, etcd_lease: int) -> None:
        request = rpc_pb2.LeaseRevokeRequest(ID=etcd_lease)

        async def revoke(at: Endpoint, options: Options) -> None:
            try:
                await at.lease.LeaseRevoke(request, **options)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND:  # it has run out meanwhile
                    raise

        await self._client.call(revoke)


async def _kept_alive(at: Endpoint, options: Options, etcd_lease: int) -> Any:
    """The answer to one renewal, the only one of its stream."""
    stream = at.lease.LeaseKeepAlive(**options)
    try:
        await stream.write(rpc_pb2.LeaseKeepAliveRequest(ID=etcd_lease))
        answer = await stream.read()
        if answer is grpc.aio.EOF:  # type: ignore[attr-defined]
            raise CoordinationError(f"etcd at {at.place} ended a renewal without an answer", retryable=True)
        return answer
    finally:
        stream.cancel()
