"""The key-value store on a real Redis cluster of three nodes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from millrace_ports.kv import Kv, KvError, KvRefusedError, open_kv
from millrace_testkit.contracts.kv import KvContract
from millrace_testkit.eventually import eventually_true
from millrace_testkit.real.redis_cluster import RedisClusterServers

pytestmark = pytest.mark.real

WITHIN_S = 30.0
KEYS = [f"key-{number}" for number in range(60)]


class TestRedisCluster(KvContract):
    @pytest.fixture
    async def kv(self, redis_cluster: RedisClusterServers) -> AsyncIterator[Kv]:
        store = open_kv(redis_cluster.url)
        yield store
        await store.close()

    async def let_pass(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def served(kv: Kv) -> int:
    """How many of the keys can be read now; the others fail with errors worth another try."""
    results = await asyncio.gather(*(kv.get(key) for key in KEYS), return_exceptions=True)
    for result in results:
        if isinstance(result, KvError):
            assert result.retryable, result
        else:
            assert not isinstance(result, BaseException), result
    return sum(isinstance(result, bytes) for result in results)


async def test_keys_are_spread_over_all_nodes(redis_cluster: RedisClusterServers) -> None:
    kv = open_kv(redis_cluster.url)
    sums = await asyncio.gather(*(kv.increment(key, i) for i, key in enumerate(KEYS)))
    assert sums == list(range(60))
    assert all(node.key_count() > 5 for node in redis_cluster.nodes)
    await kv.close()


async def test_the_other_nodes_are_found_from_one(redis_cluster: RedisClusterServers) -> None:
    kv = open_kv(f"redis+cluster://127.0.0.1:{redis_cluster.nodes[2].port}")
    await asyncio.gather(*(kv.set(key, b"1") for key in KEYS))
    assert await served(kv) == len(KEYS)
    await kv.close()


async def test_a_node_away_takes_its_own_keys_only_and_heals_by_itself(
    redis_cluster: RedisClusterServers,
) -> None:
    kv = open_kv(redis_cluster.url, timeout_s=3.0)
    await asyncio.gather(*(kv.set(key, b"1") for key in KEYS))
    redis_cluster.nodes[0].kill()

    async def others_served() -> bool:
        return 0 < await served(kv) < len(KEYS)

    async def all_served() -> bool:
        return await served(kv) == len(KEYS)

    started = time.monotonic()
    await eventually_true(others_served, WITHIN_S, "the other nodes' keys are served")
    assert time.monotonic() - started < WITHIN_S
    redis_cluster.nodes[0].start()
    await eventually_true(all_served, WITHIN_S, "all keys are served")
    await kv.close()


async def test_a_cluster_is_not_taken_for_one_server(redis_cluster: RedisClusterServers) -> None:
    kv = open_kv(f"redis://127.0.0.1:{redis_cluster.nodes[0].port}")
    with pytest.raises(KvRefusedError, match=r"MILLRACE_KV.*redis\+cluster://"):
        await kv.get("k")
    await kv.close()
