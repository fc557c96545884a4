"""etcd past the port, for what a test does to it or wants to know of it."""

from __future__ import annotations

from typing import Any

import grpc
from aetcd.rpc import rpc_pb2, rpc_pb2_grpc


class RawEtcd:
    """A client of an etcd without TLS and users on this host. Make and close it in one event loop."""

    def __init__(self, port: int) -> None:
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        self._kv: Any = rpc_pb2_grpc.KVStub(self._channel)
        self._lease: Any = rpc_pb2_grpc.LeaseStub(self._channel)

    async def empty(self) -> None:
        """Remove everything of Millrace."""
        await self._kv.DeleteRange(rpc_pb2.DeleteRangeRequest(key=b"/millrace/", range_end=b"/millrace0"))

    async def exists(self, key: bytes) -> bool:
        """Whether there is such a key."""
        return bool((await self._kv.Range(rpc_pb2.RangeRequest(key=key, count_only=True))).count)

    async def delete(self, key: bytes) -> None:
        """Remove one key."""
        await self._kv.DeleteRange(rpc_pb2.DeleteRangeRequest(key=key))

    async def forget_history(self) -> None:
        """Compact all revisions up to now."""
        latest = (await self._kv.Range(rpc_pb2.RangeRequest(key=b"k"))).header.revision
        await self._kv.Compact(rpc_pb2.CompactionRequest(revision=latest, physical=True))

    async def leases(self) -> frozenset[int]:
        """The ids of the etcd leases that there are; those of clients long gone may still run out."""
        found = await self._lease.LeaseLeases(rpc_pb2.LeaseLeasesRequest())
        return frozenset(lease.ID for lease in found.leases)

    async def close(self) -> None:
        """End the connection."""
        await self._channel.close(grace=None)
