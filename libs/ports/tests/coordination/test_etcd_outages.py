"""Coordination while etcd restarts, is away or silent, or its answers are lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from millrace_ports.coordination import (
    Coordination,
    CoordinationError,
    Event,
    Lease,
    LeaseLostError,
    Lock,
    open_coordination,
)
from millrace_ports.coordination.embedded import read_boottime
from millrace_testkit.contracts.coordination_keys import read
from millrace_testkit.eventually import eventually, eventually_true
from millrace_testkit.ports import free_port
from millrace_testkit.proxy import Proxy
from millrace_testkit.real.etcd import EtcdServer
from millrace_testkit.real.etcd_cluster import EtcdClusterServers
from millrace_testkit.real.raw_etcd import RawEtcd

pytestmark = pytest.mark.real

WITHIN_S = 30.0


async def answers(client: Coordination) -> bool:
    """Whether etcd can be used now; an error that is not worth another try is raised."""
    try:
        await client.get("probe")
    except CoordinationError as error:
        if not error.retryable:
            raise
        return False
    return True


async def assert_away(call: Awaitable[object], within_s: float) -> None:
    """The call fails with an error worth another try within the time."""
    started = time.monotonic()
    with pytest.raises(CoordinationError) as caught:
        await call
    assert caught.value.retryable, caught.value
    assert time.monotonic() - started < within_s


async def retried(call: Callable[[], Awaitable[int | None]]) -> int | None:
    """What the call returns once etcd can be used."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                return await call()
            except CoordinationError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_watch_outlives_restarts_of_the_server(
    real_etcd: EtcdServer, etcd_clients: tuple[Coordination, Coordination], end: str
) -> None:
    """Every acknowledged change is told once and in order, also those made in the first moment after a restart."""
    writer, watcher = etcd_clients
    told: list[Event] = []
    written: dict[int, bytes] = {}
    start = (await watcher.list("")).revision + 1

    async def watch() -> None:
        async for event in watcher.watch("w/", start):
            told.append(event)  # noqa: PERF401 (each is wanted as it comes)

    async def write(count: int) -> None:
        for _ in range(count):
            value = b"%d" % len(written)
            revision = await retried(partial(writer.put, "w/k", value))
            assert revision is not None
            written[revision] = value

    watching = asyncio.create_task(watch())
    try:
        await write(10)
        for _ in range(3):
            writing = asyncio.create_task(write(20))
            await asyncio.sleep(0.02)
            await asyncio.to_thread(getattr(real_etcd, end))
            await asyncio.to_thread(real_etcd.start)
            await writing

        last = max(written)
        await eventually(lambda: bool(told) and told[-1].revision >= last, WITHIN_S, "all changes told")
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    revisions = [event.revision for event in told]
    assert revisions == sorted(set(revisions))
    # A put whose answer was lost was repeated: it is told twice, under two revisions, of which one is known here.
    assert {event.revision: event.value for event in told}.items() >= written.items()
    assert len(told) <= len(written) + 3


async def test_tokens_rise_and_a_lease_lasts_over_a_restart(
    real_etcd: EtcdServer, etcd_clients: tuple[Coordination, Coordination]
) -> None:
    mine, theirs = etcd_clients
    lease = await mine.acquire("maintenance", 30.0, "host-1")
    assert lease is not None
    await asyncio.to_thread(real_etcd.kill)
    await asyncio.to_thread(real_etcd.start)
    await eventually_true(lambda: answers(mine), WITHIN_S, "etcd answers")
    renewed = await mine.renew(lease)
    assert renewed.token == lease.token
    await eventually_true(lambda: answers(theirs), WITHIN_S, "etcd answers")
    assert await theirs.acquire("maintenance", 30.0, "host-2") is None
    await mine.release(renewed)
    new = await theirs.acquire("maintenance", 30.0, "host-2")
    assert new is not None
    assert new.token > lease.token


async def test_a_server_away_is_an_outage_that_heals_by_itself(
    real_etcd: EtcdServer, etcd_clients: tuple[Coordination, Coordination]
) -> None:
    mine, _ = etcd_clients
    await mine.put("k", b"1")
    lease = await mine.acquire("maintenance", 60.0, "host")
    assert lease is not None
    await asyncio.to_thread(real_etcd.kill)
    for call in (
        mine.get("k"),
        mine.put("k", b"2"),
        mine.acquire("a", 5.0, "host"),
        mine.renew(lease),
        mine.check(lease),
    ):
        await assert_away(call, within_s=6.0)
    await asyncio.to_thread(real_etcd.start)
    await eventually_true(lambda: answers(mine), WITHIN_S, "etcd answers")
    entry = await mine.get("k")
    assert entry is not None
    assert entry.value == b"1"
    await mine.check(lease)


async def test_a_silent_server_is_noticed_in_time(real_etcd: EtcdServer, raw: RawEtcd) -> None:
    with Proxy(real_etcd.port) as proxy:
        client = open_coordination(f"etcd://{proxy.address}", timeout_s=1.0)
        lease = await client.acquire("maintenance", 60.0, "host")
        assert lease is not None
        proxy.stall()
        await assert_away(client.get("k"), within_s=3.0)
        await assert_away(client.renew(lease), within_s=3.0)
        proxy.restore()
        await eventually_true(lambda: answers(client), WITHIN_S, "etcd answers")
        await client.renew(lease)
        await client.close()


async def test_a_watch_outlives_a_wire_that_goes_silent(real_etcd: EtcdServer, raw: RawEtcd) -> None:
    """No reset reaches the client, as when a firewall forgets the connection: its pings are not answered."""
    with Proxy(real_etcd.port) as proxy:
        direct = open_coordination(real_etcd.url)
        proxied = open_coordination(f"etcd://{proxy.address}")
        start = (await direct.list("")).revision + 1
        watching = asyncio.create_task(read(proxied, "w/", start, 2))
        await direct.put("w/a", b"1")
        await asyncio.sleep(0.5)
        proxy.stall()
        await direct.put("w/a", b"2")
        await asyncio.sleep(1)
        proxy.cut()
        proxy.restore()
        assert [event.value for event in await watching] == [b"1", b"2"]
        await proxied.close()
        await direct.close()


async def test_a_change_whose_answer_is_lost_is_not_repeated(real_etcd: EtcdServer, raw: RawEtcd) -> None:
    direct = open_coordination(real_etcd.url)
    with Proxy(real_etcd.port) as proxy:
        # The member is named twice, so that there is a next one to go to.
        client = open_coordination(f"etcd://{proxy.address},{proxy.address}", timeout_s=3.0)
        start = (await direct.list("")).revision + 1
        for number in range(3):
            await eventually_true(lambda: answers(client), WITHIN_S, "etcd answers")
            proxy.stall_answers()
            changing = asyncio.create_task(client.put("w/k", b"%d" % number))
            assert len(await read(direct, "w/", start, number + 1)) == number + 1
            proxy.reset()
            proxy.restore()  # a client that connects again and repeats is heard
            await assert_away(changing, within_s=4.0)
        await direct.put("w/k", b"last")
        events = await read(direct, "w/", start, 4)
        assert [event.value for event in events] == [b"0", b"1", b"2", b"last"]
        await client.close()
    await direct.close()


async def test_an_acquisition_whose_answer_is_lost_does_not_keep_the_name(
    real_etcd: EtcdServer, raw: RawEtcd
) -> None:
    with Proxy(real_etcd.port) as proxy:
        client = open_coordination(f"etcd://{proxy.address}", timeout_s=3.0)
        assert await client.get("k") is None
        before = await raw.leases()
        proxy.delay(0.5)  # time to see the key before the answer is there
        acquiring = asyncio.create_task(client.acquire("maintenance", 3600.0, "host-1"))
        await eventually_true(lambda: raw.exists(b"/millrace/leases/maintenance"), WITHIN_S, "the key")
        proxy.stall_answers()
        await assert_away(acquiring, within_s=6.0)

        async def nothing_left() -> bool:
            return await raw.leases() <= before

        await eventually_true(nothing_left, WITHIN_S, "the lease given back")
        assert not await raw.exists(b"/millrace/leases/maintenance")
        proxy.restore()
        assert await client.acquire("maintenance", 5.0, "host-1") is not None
        await client.close()


async def test_a_lock_ends_with_its_deadline_when_the_server_is_away(
    real_etcd: EtcdServer, etcd_clients: tuple[Coordination, Coordination]
) -> None:
    mine, _ = etcd_clients
    reached = False
    left_s = 0.0

    async def hold() -> None:
        nonlocal reached, left_s
        async with Lock(mine, "lock", ttl_s=3.0, holder="host") as lock:
            await asyncio.to_thread(real_etcd.pause)
            try:
                await asyncio.sleep(WITHIN_S)
            finally:
                left_s = lock.lease.deadline - read_boottime()
            reached = True

    with pytest.raises(LeaseLostError):
        await hold()
    assert not reached
    assert -1.0 < left_s <= 0.05


async def test_the_next_member_is_asked_when_the_first_is_away(real_etcd: EtcdServer, raw: RawEtcd) -> None:
    client = open_coordination(f"etcd://127.0.0.1:{free_port()},{real_etcd.url.removeprefix('etcd://')}")
    start = (await client.list("")).revision + 1
    assert await client.create("w/k", b"1") is not None
    assert len(await read(client, "w/", start, 1)) == 1
    assert await client.acquire("maintenance", 5.0, "host") is not None
    await client.close()


async def test_nobody_there_is_an_outage() -> None:
    client = open_coordination(f"etcd://127.0.0.1:{free_port()},127.0.0.1:{free_port()}")
    await assert_away(client.get("k"), within_s=6.0)
    await client.close()


async def test_a_name_that_does_not_resolve_is_an_outage() -> None:
    client = open_coordination("etcd://etcd.invalid:2379", timeout_s=3.0)
    await assert_away(client.get("k"), within_s=5.0)
    await client.close()


async def test_a_cluster_goes_on_while_one_member_after_the_other_is_away(
    etcd_cluster: EtcdClusterServers,
) -> None:
    """Whichever leads is among them. Leases last, tokens rise, a watch has no gap."""
    writer, watcher = open_coordination(etcd_cluster.url), open_coordination(etcd_cluster.url)
    start = (await watcher.list("")).revision + 1
    lease = await writer.acquire("maintenance", 60.0, "host-1")
    assert lease is not None
    first_token = lease.token
    told: list[Event] = []

    async def watch() -> None:
        async for event in watcher.watch("w/", start):
            told.append(event)  # noqa: PERF401 (each is wanted as it comes)

    watching = asyncio.create_task(watch())
    written: dict[int, bytes] = {}
    for turn, member in enumerate(etcd_cluster.members):
        await asyncio.to_thread(member.kill)
        for number in range(10):
            value = b"%d-%d" % (turn, number)
            revision = await retried(partial(writer.put, "w/k", value))
            assert revision is not None
            written[revision] = value
        lease = await renewed(writer, lease)
        assert lease.token == first_token
        await asyncio.to_thread(member.start)
    last = max(written)
    await eventually(lambda: bool(told) and told[-1].revision >= last, WITHIN_S, "all changes told")
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    revisions = [event.revision for event in told]
    assert revisions == sorted(set(revisions))
    assert {event.revision: event.value for event in told}.items() >= written.items()
    await writer.release(lease)
    new = await watcher.acquire("maintenance", 60.0, "host-2")
    assert new is not None
    assert new.token > first_token
    await writer.close()
    await watcher.close()


async def renewed(client: Coordination, lease: Lease) -> Lease:
    """The lease, renewed once etcd can be used."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                return await client.renew(lease)
            except CoordinationError as error:
                if not error.retryable:
                    raise
