"""The key-value store on a real Redis: the contract, and what only a server can show."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest
from redis.asyncio import Redis

from millrace_ports.kv import Kv, KvError, KvRefusedError, open_kv
from millrace_testkit.contracts.kv import KvContract
from millrace_testkit.eventually import eventually_true
from millrace_testkit.ports import free_port
from millrace_testkit.proxy import Proxy
from millrace_testkit.real.redis import RedisServer
from millrace_testkit.real.resp import resp_server

pytestmark = pytest.mark.real

WITHIN_S = 20.0


class TestRedis(KvContract):
    @pytest.fixture
    async def kv(self, real_redis: RedisServer) -> AsyncIterator[Kv]:
        store = open_kv(real_redis.new_database())
        yield store
        await store.close()

    async def let_pass(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def answers(kv: Kv) -> bool:
    """Whether the store works now; an error that is not worth another try is raised."""
    try:
        await kv.check()
    except KvError as error:
        if not error.retryable:
            raise
        return False
    return True


async def assert_away(call: Callable[[], object], within_s: float) -> KvError:
    """`call` fails with an error worth another try within the time."""
    started = time.monotonic()
    with pytest.raises(KvError) as caught:
        await call()  # type: ignore[misc]
    assert caught.value.retryable, caught.value
    assert time.monotonic() - started < within_s
    return caught.value


async def test_two_clients_see_each_other(real_redis: RedisServer) -> None:
    url = real_redis.new_database()
    first, second = open_kv(url), open_kv(url)
    await first.set("k", b"100")
    starts = await asyncio.gather(
        *(kv.claim("k", 3, maximum=130) for _ in range(10) for kv in (first, second))
    )
    assert sorted(start for start in starts if start is not None) == list(range(100, 130, 3))
    await first.close()
    await second.close()


async def test_more_operations_than_connections_all_end(real_redis: RedisServer) -> None:
    kv = open_kv(real_redis.new_database())
    sums = await asyncio.gather(*(kv.increment("k") for _ in range(2000)))
    assert sorted(sums) == list(range(1, 2001))
    await kv.close()


async def test_a_killed_server_is_an_outage_that_heals_by_itself(real_redis: RedisServer) -> None:
    kv = open_kv(real_redis.new_database(), timeout_s=2.0)
    await kv.set("k", b"1")
    real_redis.kill()
    error = await assert_away(lambda: kv.get("k"), within_s=3.0)
    assert str(real_redis.port) in str(error)
    await assert_away(lambda: kv.increment("other"), within_s=3.0)
    real_redis.start()
    await eventually_true(lambda: answers(kv), WITHIN_S, "the store works again")
    assert await kv.get("k") == b"1"
    await kv.close()


async def test_a_store_opened_while_the_server_is_away_works_when_it_comes(real_redis: RedisServer) -> None:
    url = real_redis.new_database()
    real_redis.stop()
    kv = open_kv(url)
    await assert_away(lambda: kv.set("k", b"1"), within_s=6.0)
    real_redis.start()
    await eventually_true(lambda: answers(kv), WITHIN_S, "the store works")
    await kv.close()


async def test_a_paused_server_is_noticed_in_time_and_mixes_no_answers(real_redis: RedisServer) -> None:
    kv = open_kv(real_redis.new_database(), timeout_s=0.5)
    for i in range(40):
        await kv.set(f"key-{i}", b"%d" % i)
    real_redis.pause()
    started = time.monotonic()
    results = await asyncio.gather(*(kv.get(f"key-{i}") for i in range(40)), return_exceptions=True)
    assert all(isinstance(result, KvError) and result.retryable for result in results)
    assert time.monotonic() - started < 5.0
    real_redis.resume()
    await eventually_true(lambda: answers(kv), WITHIN_S, "the store works again")
    values = await asyncio.gather(*(kv.get(f"key-{i}") for i in range(40)))
    assert values == [b"%d" % i for i in range(40)]
    await kv.close()


async def test_cancelled_operations_mix_no_answers(real_redis: RedisServer) -> None:
    kv = open_kv(real_redis.new_database())
    for i in range(10):
        await kv.set(f"key-{i}", b"%d" % i)
    for turn in range(30):
        reading = [asyncio.create_task(kv.get(f"key-{i}")) for i in range(10)]
        for _ in range(turn % 7):
            await asyncio.sleep(0)
        for task in reading[::2]:
            task.cancel()
        results = await asyncio.gather(*reading, return_exceptions=True)
        for i, result in enumerate(results):
            assert result == b"%d" % i or (i % 2 == 0 and isinstance(result, asyncio.CancelledError))
    await kv.close()


async def test_an_increment_whose_answer_is_lost_is_not_repeated(real_redis: RedisServer) -> None:
    database = real_redis.new_database()
    direct = open_kv(database)
    with Proxy(real_redis.port) as proxy:
        kv = open_kv(database.replace(str(real_redis.port), str(proxy.port)), timeout_s=3.0)
        for number in (1, 2, 3):
            await eventually_true(lambda: answers(kv), WITHIN_S, "the store works")
            proxy.stall_answers()
            counting = asyncio.create_task(kv.increment("counter"))
            await eventually_true(partial(holds, direct, b"%d" % number), WITHIN_S, "the server has counted")
            proxy.reset()
            proxy.restore()  # a client that connects again and repeats is heard
            await assert_away(lambda counting=counting: counting, within_s=4.0)
            assert await direct.get("counter") == b"%d" % number
        await kv.close()
    await direct.close()


async def holds(kv: Kv, value: bytes) -> bool:
    return await kv.get("counter") == value


async def test_a_full_server_is_worth_another_try(real_redis: RedisServer) -> None:
    kv = open_kv(real_redis.new_database())
    async with Redis(port=real_redis.port) as admin:
        await admin.config_set("maxmemory", "1")
        try:
            error = await assert_away(lambda: kv.set("k", b"1"), within_s=3.0)
        finally:
            await admin.config_set("maxmemory", "0")
    assert "maxmemory" in str(error)
    await kv.set("k", b"1")
    await kv.close()


async def test_a_primary_that_became_a_replica_is_worth_another_try(real_redis: RedisServer) -> None:
    kv = open_kv(real_redis.new_database())
    await kv.set("k", b"1")
    async with Redis(port=real_redis.port) as admin:
        await admin.execute_command("REPLICAOF", "127.0.0.1", str(free_port()))
        try:
            await assert_away(lambda: kv.set("k", b"2"), within_s=3.0)
            await assert_away(lambda: kv.increment("counter", ttl_s=60), within_s=3.0)
        finally:
            await admin.execute_command("REPLICAOF", "NO", "ONE")
    await kv.set("k", b"2")
    assert await kv.get("k") == b"2"
    await kv.close()


@pytest.fixture
async def limited_user(real_redis: RedisServer) -> AsyncIterator[str]:
    """A user `reader` who may only get keys that begin with `shown`."""
    async with Redis(port=real_redis.port) as admin:
        await admin.execute_command(
            "ACL", "SETUSER", "reader", "on", ">p@ss:/w", "~shown*", "+get", "+select"
        )
        yield f"redis://reader:p%40ss%3A%2Fw@127.0.0.1:{real_redis.port}"
        await admin.execute_command("ACL", "DELUSER", "reader")


async def refused(url: str, call: Callable[[Kv], object]) -> str:
    """The text with which the store refuses, which names the setting and holds no password."""
    kv = open_kv(url)
    with pytest.raises(KvRefusedError) as caught:
        await call(kv)  # type: ignore[misc]
    await kv.close()
    assert not caught.value.retryable
    assert "MILLRACE_KV" in str(caught.value)
    for secret in ("p@ss", "p%40ss", "wrong-secret"):
        assert secret not in str(caught.value)
    return str(caught.value)


async def test_a_right_that_lacks_is_named(limited_user: str) -> None:
    kv = open_kv(limited_user)
    assert await kv.get("shown") is None
    await kv.close()
    assert "right" in await refused(limited_user, lambda kv: kv.set("shown", b"1"))
    assert "right" in await refused(limited_user, lambda kv: kv.get("hidden"))
    assert "right" in await refused(limited_user, lambda kv: kv.admit("shown", limit=1, window_s=1))


async def test_a_wrong_password_is_named(limited_user: str, real_redis: RedisServer) -> None:
    wrong = limited_user.replace("p%40ss%3A%2Fw", "wrong-secret")
    assert "password" in await refused(wrong, lambda kv: kv.get("shown"))
    assert "password" in await refused(wrong.replace("reader", "stranger"), lambda kv: kv.get("shown"))


async def test_a_missing_password_is_named(real_redis: RedisServer) -> None:
    async with Redis(port=real_redis.port) as admin:
        await admin.config_set("requirepass", "wrong-secret")
        try:
            said = await refused(f"redis://127.0.0.1:{real_redis.port}", lambda kv: kv.get("k"))
        finally:
            await admin.config_set("requirepass", "")
    assert "password" in said


@pytest.mark.parametrize(
    ("reply", "version"),
    [
        (
            b"*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n6.2.14\r\n$5\r\nproto\r\n:2\r\n"
            b"$2\r\nid\r\n:3\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n",
            r"6\.2\.14",
        ),
        (b"-ERR unknown command `HELLO`, with args beginning with: \r\n", "5"),
    ],
)
async def test_an_old_server_is_refused(reply: bytes, version: str) -> None:
    async with resp_server(reply) as address:
        said = await refused(f"redis://{address}", lambda kv: kv.get("k"))
    assert "7.0" in said
    assert version.replace("\\", "") in said


async def test_a_listener_that_is_no_redis_is_told(real_redis: RedisServer) -> None:
    async with resp_server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address:
        assert "TLS" in await refused(f"redis://{address}", lambda kv: kv.get("k"))


async def test_a_free_port_is_an_outage() -> None:
    kv = open_kv(f"redis://127.0.0.1:{free_port()}")
    await assert_away(lambda: kv.get("k"), within_s=6.0)
    await kv.close()


async def test_a_name_that_does_not_resolve_is_an_outage() -> None:
    kv = open_kv("redis://redis.invalid:6379", timeout_s=3.0)
    await assert_away(lambda: kv.get("k"), within_s=5.0)
    await kv.close()


async def test_one_server_is_not_taken_for_a_cluster(real_redis: RedisServer) -> None:
    said = await refused(f"redis+cluster://127.0.0.1:{real_redis.port}", lambda kv: kv.get("k"))
    assert "redis://" in said
