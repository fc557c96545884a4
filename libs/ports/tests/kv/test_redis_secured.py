"""The key-value store on a Redis that asks for TLS and a user."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from millrace_ports.kv import KvError, KvRefusedError, open_kv
from millrace_testkit.eventually import eventually_true
from millrace_testkit.real.redis import RedisServer
from millrace_testkit.real.redis_cluster import RedisClusterServers
from millrace_testkit.real.secured import LIMITED, OWNER, Login
from millrace_testkit.real.secured.redis import SecuredRedis

pytestmark = pytest.mark.real

WITHIN_S = 30.0


async def said(url: str, ca_file: Path | None) -> str:
    """How the store refuses: not worth another try, without any password."""
    kv = open_kv(url, redis_ca_file=ca_file)
    with pytest.raises(KvRefusedError) as caught:
        await kv.get("k")
    await kv.close()
    assert not caught.value.retryable
    for secret in (OWNER.password, LIMITED.password, OWNER.userinfo, "not-the-password"):
        assert secret not in str(caught.value)
    return str(caught.value)


async def test_everything_works_with_tls_and_a_user(secured_redis: SecuredRedis) -> None:
    kv = open_kv(secured_redis.new_database(), redis_ca_file=secured_redis.certificates.ca)
    await kv.set("k", b"7", ttl_s=60)
    assert await kv.claim("k", 3, maximum=10) == 7
    assert await kv.increment("counter", ttl_s=60) == 1
    assert await kv.compare_and_set("k", b"10", None)
    assert (await kv.admit("limit", limit=1, window_s=60)).admitted
    assert await kv.take("k") is None
    await kv.close()


async def test_a_secured_server_away_is_an_outage_that_heals_by_itself(secured_redis: SecuredRedis) -> None:
    kv = open_kv(secured_redis.new_database(), redis_ca_file=secured_redis.certificates.ca)
    await kv.set("k", b"1")
    await asyncio.to_thread(secured_redis.kill)
    with pytest.raises(KvError) as caught:
        await kv.get("k")
    assert caught.value.retryable
    await asyncio.to_thread(secured_redis.start)

    async def back() -> bool:
        try:
            return await kv.get("k") == b"1"
        except KvError as error:
            if not error.retryable:
                raise
            return False

    await eventually_true(back, WITHIN_S, "the store works again")
    await kv.close()


async def test_wrong_logins_are_told(secured_redis: SecuredRedis) -> None:
    ca = secured_redis.certificates.ca
    assert "password" in await said(secured_redis.url_for(Login(OWNER.name, "not-the-password")), ca)
    assert "password" in await said(secured_redis.url_for(Login("stranger", "not-the-password")), ca)
    assert "password" in await said(f"rediss://127.0.0.1:{secured_redis.port}", ca)
    assert "right" in await said(secured_redis.url_for(LIMITED), ca)


async def test_an_untrusted_server_is_told(secured_redis: SecuredRedis) -> None:
    for ca in (secured_redis.certificates.other_ca, None):
        assert "MILLRACE_REDIS_CA_FILE" in await said(secured_redis.url, ca)


async def test_missing_tls_is_told(secured_redis: SecuredRedis, real_redis: RedisServer) -> None:
    plain = secured_redis.url.replace("rediss://", "redis://")
    assert "rediss://" in await said(plain, None)
    tls = f"rediss://127.0.0.1:{real_redis.port}"
    assert "TLS" in await said(tls, secured_redis.certificates.ca)


async def test_a_cluster_behind_tls_works(
    secured_redis_cluster: RedisClusterServers, secured_redis: SecuredRedis
) -> None:
    kv = open_kv(secured_redis_cluster.url, redis_ca_file=secured_redis.certificates.ca)
    sums = await asyncio.gather(*(kv.increment(f"key-{i}", i) for i in range(60)))
    assert sums == list(range(60))
    assert all(node.key_count() > 5 for node in secured_redis_cluster.nodes)
    await kv.close()
    assert "rediss+cluster://" in await said(secured_redis_cluster.url.replace("rediss", "redis"), None)
    assert "MILLRACE_REDIS_CA_FILE" in await said(secured_redis_cluster.url, None)
