"""The key-value store on Redis 7.0 or later: one server or a cluster, with or without TLS."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from redis import exceptions as redis_errors
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from millrace_ports.errors import ClosedError
from millrace_ports.kv.arguments import checked_integer, checked_key, milliseconds, optional_milliseconds
from millrace_ports.kv.errors import KvRefusedError
from millrace_ports.kv.port import Admission
from millrace_ports.kv.redis import scripts
from millrace_ports.kv.redis.client import make_client
from millrace_ports.kv.redis.errors import translated
from millrace_ports.kv.redis.probe import misconfiguration
from millrace_ports.kv.redis.url import parse_redis_url

_OLDEST = (7, 0)
_CONNECTIONS = 32


class RedisKv:
    """`millrace_ports.kv.port.Kv` on the server that `url` names; an operation ends within `timeout_s` seconds.

    At most 32 operations are under way at once; more wait for their turn within their time. Raises KvUrlError.
    """

    def __init__(self, url: str, *, ca_file: Path | None, timeout_s: float) -> None:
        self._url = parse_redis_url(url)
        self._timeout_s = timeout_s
        self._client = make_client(self._url, ca_file=ca_file, timeout_s=timeout_s)
        self._turns = asyncio.Semaphore(_CONNECTIONS)
        self._looking = asyncio.Lock()
        self._known = False
        self._closed = False

    async def get(self, key: str) -> bytes | None:
        return await self._value("GET", checked_key(key))

    async def set(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        await self._run("SET", checked_key(key), value, *_expiry(optional_milliseconds("ttl_s", ttl_s)))

    async def delete(self, key: str) -> bool:
        return bool(await self._run("DEL", checked_key(key)))

    async def compare_and_set(
        self, key: str, expected: bytes | None, value: bytes | None, *, ttl_s: float | None = None
    ) -> bool:
        ttl_ms = optional_milliseconds("ttl_s", ttl_s)
        if expected is not None:
            action = "delete" if value is None else "set"
            return bool(
                await self._script(
                    scripts.COMPARE_AND_SET,
                    key,
                    expected,
                    action,
                    value or b"",
                    "" if ttl_ms is None else ttl_ms,
                )
            )
        if value is None:
            raise ValueError("expected and value are both None")
        return bool(await self._run("SET", checked_key(key), value, "NX", *_expiry(ttl_ms)))

    async def increment(self, key: str, by: int = 1, *, ttl_s: float | None = None) -> int:
        ttl_ms = optional_milliseconds("ttl_s", ttl_s)
        checked_integer("by", by)
        if ttl_ms is None:
            return int(await self._run("INCRBY", checked_key(key), by))
        return int(await self._script(scripts.INCREMENT_WITH_TTL, key, by, ttl_ms))

    async def admit(self, key: str, *, limit: int, window_s: float) -> Admission:
        window_ms = milliseconds("window_s", window_s)
        checked_integer("limit", limit, at_least=1)
        wait_ms = int(await self._script(scripts.ADMIT, key, limit, window_ms))
        return Admission(admitted=wait_ms == 0, retry_after_s=wait_ms / 1000)

    async def claim(self, key: str, count: int, *, maximum: int, ttl_s: float | None = None) -> int | None:
        ttl_ms = optional_milliseconds("ttl_s", ttl_s)
        checked_integer("count", count, at_least=1)
        checked_integer("maximum", maximum, at_least=0)
        # A start of -1 at most: nothing fits, yet the key is looked at.
        last = "" if count > maximum else maximum - count
        start = await self._script(scripts.CLAIM, key, count, last, "" if ttl_ms is None else ttl_ms)
        return None if start is None else int(start)

    async def take(self, key: str) -> bytes | None:
        return await self._value("GETDEL", checked_key(key))

    async def check(self) -> None:
        """See the port: asks for an absent key, so that connection, password and rights are tried."""
        await self._run("GET", "millrace:check")

    async def close(self) -> None:
        """See the port. Operations under way end with a retryable error."""
        if not self._closed:
            self._closed = True
            await self._client.aclose()

    async def _value(self, *command: Any) -> bytes | None:
        value = await self._run(*command)
        return None if value is None else bytes(value)

    async def _script(self, script: str, key: str, *arguments: Any) -> Any:
        # EVAL with its text: the server keeps it compiled, and no restart or failover can have forgotten it.
        return await self._run("EVAL", script, 1, checked_key(key), *arguments)

    async def _run(self, *command: Any) -> Any:
        async with self._turn():
            try:
                return await self._client.execute_command(*command)
            except redis_errors.ReadOnlyError:
                # A primary that became a replica keeps its connections; by new ones the name may lead elsewhere.
                if isinstance(self._client, Redis):
                    await self._client.connection_pool.disconnect(inuse_connections=False)
                raise

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._closed:
            raise ClosedError("the key-value store is closed")
        with translated(self._url.place):
            async with asyncio.timeout(self._timeout_s), self._turns:
                if not self._known:
                    await self._look_once()
                yield

    async def _look_once(self) -> None:
        async with self._looking:
            if not self._known:
                await self._look()
                self._known = True

    async def _look(self) -> None:
        """Raises KvRefusedError for a server that is too old, or a cluster where one server was named."""
        try:
            async with asyncio.timeout(self._timeout_s / 2):
                flat = await self._greet()
        except (OSError, redis_errors.RedisError, redis_errors.RedisClusterException):
            if (wrong := await misconfiguration(self._url)) is not None:
                raise KvRefusedError(wrong) from None
            raise
        told = {bytes(name): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
        version = told[b"version"].decode()
        if _numbers(version) < _OLDEST:
            raise KvRefusedError(
                f"MILLRACE_KV: Redis at {self._url.place} has version {version}; 7.0 or later is needed"
            )
        if told[b"mode"] == b"cluster" and not self._url.cluster:
            raise KvRefusedError(
                f"MILLRACE_KV: Redis at {self._url.place} is part of a cluster; write redis+cluster:// or "
                "rediss+cluster://"
            )

    async def _greet(self) -> list[Any]:
        """The answer to HELLO, which is open to every user and came with Redis 6.0: names and values in turn."""
        options = {}
        if isinstance(self._client, RedisCluster):
            await self._client.initialize()
            options = {"target_nodes": self._client.get_random_node()}
        try:
            return list(await self._client.execute_command("HELLO", **options))
        except redis_errors.ResponseError as error:
            if not str(error).startswith("unknown command"):
                raise
            return [b"version", b"5"]


def _expiry(ttl_ms: int | None) -> tuple[str | int, ...]:
    return () if ttl_ms is None else ("PX", ttl_ms)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
