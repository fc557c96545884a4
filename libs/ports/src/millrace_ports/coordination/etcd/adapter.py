"""Coordination on etcd 3.4 or later, by its gRPC interface."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

from aetcd.rpc import rpc_pb2

from millrace_ports.coordination.arguments import check_change, check_key, check_lease, check_revision
from millrace_ports.coordination.etcd.client import EtcdClient
from millrace_ports.coordination.etcd.leases import EtcdLeases
from millrace_ports.coordination.etcd.names import range_end, stored_key, told_key
from millrace_ports.coordination.etcd.security import EtcdSecurity
from millrace_ports.coordination.etcd.watch import watched
from millrace_ports.coordination.port import Entry, Event, Lease, Listing


class EtcdCoordination:
    """`millrace_ports.coordination.port.Coordination` on the cluster that `url` names.

    Each call ends within `timeout_s` seconds. Raises CoordinationUrlError, naming the setting.
    """

    def __init__(
        self, url: str, security: EtcdSecurity, *, timeout_s: float, boottime: Callable[[], float]
    ) -> None:
        self._client = EtcdClient(url, security, timeout_s=timeout_s)
        self._leases = EtcdLeases(self._client, boottime=boottime)

    async def acquire(self, name: str, ttl_s: float, holder: str) -> Lease | None:
        check_lease(name, ttl_s)
        return await self._leases.acquire(name, ttl_s, holder)

    async def renew(self, lease: Lease) -> Lease:
        return await self._leases.renew(lease)

    async def check(self, lease: Lease) -> None:
        await self._leases.check(lease)

    async def release(self, lease: Lease) -> None:
        await self._leases.release(lease)

    async def create(self, key: str, value: bytes) -> int | None:
        check_change(key, value)
        return await self._change(_put(key, value), key, if_revision=0)

    async def get(self, key: str) -> Entry | None:
        check_key(key)
        answer = await self._ask("Range", rpc_pb2.RangeRequest(key=stored_key(key)))
        return _entry(answer.kvs[0]) if answer.kvs else None

    async def list(self, prefix: str) -> Listing:
        start = stored_key(prefix)
        answer = await self._ask("Range", rpc_pb2.RangeRequest(key=start, range_end=range_end(start)))
        return Listing(tuple(_entry(found) for found in answer.kvs), int(answer.header.revision))

    async def put(self, key: str, value: bytes, *, if_revision: int | None = None) -> int | None:
        check_change(key, value, if_revision)
        return await self._change(_put(key, value), key, if_revision=if_revision)

    async def delete(self, key: str, *, if_revision: int | None = None) -> bool:
        check_change(key, b"", if_revision)
        if if_revision is None:
            answer = await self._ask("DeleteRange", rpc_pb2.DeleteRangeRequest(key=stored_key(key)))
            return bool(answer.deleted)
        change = rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=stored_key(key)))
        return await self._change(change, key, if_revision=if_revision) is not None

    def watch(self, prefix: str, from_revision: int) -> AsyncGenerator[Event, None]:
        check_revision("from_revision", from_revision)
        return watched(self._client, prefix, from_revision)

    async def close(self) -> None:
        """See the port. A lease that was not got any more is given back first."""
        await self._leases.close()
        await self._client.close()

    async def _change(self, change: Any, key: str, *, if_revision: int | None) -> int | None:
        """The revision of one change, or None when the key's revision (0 = absent) is not the expected one."""
        request = rpc_pb2.TxnRequest(success=[change])
        if if_revision is not None:
            request.compare.append(
                rpc_pb2.Compare(key=stored_key(key), target=rpc_pb2.Compare.MOD, mod_revision=if_revision)
            )
        answer = await self._ask("Txn", request)
        return int(answer.header.revision) if answer.succeeded else None

    async def _ask(self, method: str, request: Any) -> Any:
        return await self._client.call(lambda at, options: getattr(at.kv, method)(request, **options))


def _put(key: str, value: bytes) -> Any:
    return rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=stored_key(key), value=value))


def _entry(found: Any) -> Entry:
    return Entry(told_key(found.key), found.value, int(found.mod_revision))
