"""What every coordination adapter must do, first for leases and locks. Subclass; see `LeaseContract`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from millrace_ports.coordination import Coordination, Lease, LeaseLostError, Lock, LockNotAcquiredError
from millrace_ports.coordination.embedded import read_boottime
from millrace_ports.errors import ClosedError
from millrace_testkit.eventually import eventually

TTL_S = 5.0
WITHIN_S = 20.0


class LeaseContract:
    """The suite for leases and locks; an adapter's test class inherits it unchanged.

    A subclass has a fixture `coordination`, two clients of one backend (as two processes would have) in which no
    earlier test has left a name, and overrides `let_pass`, which lets the backend's time go on (a manual clock
    is advanced, a real server is waited for), and `take_away`. `boottime` is the clients' clock, None the host's.
    """

    boottime: Callable[[], float] | None = None

    async def let_pass(self, seconds: float) -> None:
        raise NotImplementedError

    async def take_away(self, lease: Lease) -> None:
        """Make a holder lose a lease that it renews in time."""
        raise NotImplementedError

    def lock(self, client: Coordination, *, ttl_s: float = TTL_S, wait_s: float = 0.0) -> Lock:
        """The lock `lock`, by the clock of the clients."""
        boottime = self.boottime or read_boottime
        return Lock(client, "lock", ttl_s=ttl_s, holder="host", wait_s=wait_s, boottime=boottime)

    async def acquired(self, client: Coordination, name: str, holder: str) -> Lease:
        """The lease, once the backend gives the expired one away."""
        async with asyncio.timeout(WITHIN_S):
            while (lease := await client.acquire(name, TTL_S, holder)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return lease

    async def test_a_free_name_is_acquired(self, coordination: tuple[Coordination, Coordination]) -> None:
        mine, _ = coordination
        lease = await mine.acquire("maintenance", TTL_S, "host-1")
        assert lease is not None
        assert (lease.name, lease.holder, lease.ttl_s) == ("maintenance", "host-1", TTL_S)
        await mine.check(lease)

    async def test_a_held_name_is_refused(self, coordination: tuple[Coordination, Coordination]) -> None:
        mine, theirs = coordination
        assert await mine.acquire("maintenance", TTL_S, "host-1") is not None
        assert await theirs.acquire("maintenance", TTL_S, "host-2") is None
        assert await mine.acquire("maintenance", TTL_S, "host-1") is None

    async def test_names_are_independent(self, coordination: tuple[Coordination, Coordination]) -> None:
        mine, theirs = coordination
        names = ["a", "a/b", "../a", ".", "a b", "名"]
        for client, name in zip([mine, theirs] * 3, names, strict=True):
            lease = await client.acquire(name, TTL_S, "host")
            assert lease is not None
            assert lease.name == name

    async def test_an_expired_lease_goes_to_the_next_with_a_higher_token(
        self, coordination: tuple[Coordination, Coordination]
    ) -> None:
        mine, theirs = coordination
        old = await mine.acquire("maintenance", TTL_S, "host-1")
        assert old is not None
        await self.let_pass(TTL_S + 1)
        new = await self.acquired(theirs, "maintenance", "host-2")
        assert new.token > old.token
        with pytest.raises(LeaseLostError, match=f"maintenance.*{old.token}"):
            await mine.renew(old)
        with pytest.raises(LeaseLostError):
            await mine.check(old)
        await theirs.check(new)

    async def test_an_expired_lease_is_lost_even_when_nobody_took_it(
        self, coordination: tuple[Coordination, Coordination]
    ) -> None:
        mine, _ = coordination
        lease = await mine.acquire("maintenance", TTL_S, "host-1")
        assert lease is not None
        await self.let_pass(TTL_S + 1)
        with pytest.raises(LeaseLostError):
            await mine.renew(lease)

    async def test_renewal_keeps_the_lease_and_its_token(
        self, coordination: tuple[Coordination, Coordination]
    ) -> None:
        mine, theirs = coordination
        lease = await mine.acquire("maintenance", TTL_S, "host-1")
        assert lease is not None
        token = lease.token
        for _ in range(3):
            await self.let_pass(TTL_S * 0.6)
            lease = await mine.renew(lease)
            assert lease.token == token
            assert await theirs.acquire("maintenance", TTL_S, "host-2") is None
        await mine.check(lease)

    async def test_release_frees_the_name_at_once(
        self, coordination: tuple[Coordination, Coordination]
    ) -> None:
        mine, theirs = coordination
        lease = await mine.acquire("maintenance", TTL_S, "host-1")
        assert lease is not None
        await mine.release(lease)
        with pytest.raises(LeaseLostError):
            await mine.check(lease)
        new = await theirs.acquire("maintenance", TTL_S, "host-2")
        assert new is not None
        assert new.token > lease.token

    async def test_releasing_a_lost_lease_does_not_disturb_its_new_holder(
        self, coordination: tuple[Coordination, Coordination]
    ) -> None:
        mine, theirs = coordination
        old = await mine.acquire("maintenance", TTL_S, "host-1")
        assert old is not None
        await self.let_pass(TTL_S + 1)
        new = await self.acquired(theirs, "maintenance", "host-2")
        await mine.release(old)
        await theirs.check(new)
        assert await mine.acquire("maintenance", TTL_S, "host-1") is None

    async def test_one_of_many_wins_a_race(self, coordination: tuple[Coordination, Coordination]) -> None:
        tokens = []
        for _ in range(5):
            leases = await asyncio.gather(
                *(client.acquire("race", TTL_S, f"host-{i}") for i in range(4) for client in coordination)
            )
            won = [lease for lease in leases if lease is not None]
            assert len(won) == 1
            tokens.append(won[0].token)
            await coordination[0].release(won[0])
        assert tokens == sorted(set(tokens))

    @pytest.mark.parametrize(("name", "ttl_s"), [("", 1.0), ("maintenance", 0.0), ("maintenance", -1.0)])
    async def test_arguments_that_make_no_sense_are_refused(
        self, coordination: tuple[Coordination, Coordination], name: str, ttl_s: float
    ) -> None:
        with pytest.raises(ValueError, match=r"name|ttl_s"):
            await coordination[0].acquire(name, ttl_s, "host")

    async def test_a_lock_lets_one_in(self, coordination: tuple[Coordination, Coordination]) -> None:
        mine, theirs = coordination
        async with self.lock(mine) as lock:
            await mine.check(lock.lease)
            entered = False
            with pytest.raises(LockNotAcquiredError, match="lock"):
                async with self.lock(theirs):
                    entered = True
            assert not entered
            first = lock.token
        async with self.lock(theirs) as lock:
            assert lock.token > first

    async def test_a_lock_is_waited_for(self, coordination: tuple[Coordination, Coordination]) -> None:
        mine, theirs = coordination
        order = []

        async def second() -> None:
            async with self.lock(theirs, wait_s=WITHIN_S):
                order.append("second")

        async with self.lock(mine):
            waiting = asyncio.create_task(second())
            await asyncio.sleep(0.3)
            order.append("first")
        await waiting
        assert order == ["first", "second"]

    async def test_a_lock_is_free_after_an_error(
        self, coordination: tuple[Coordination, Coordination]
    ) -> None:
        mine, theirs = coordination
        with pytest.raises(ZeroDivisionError):
            async with self.lock(mine):
                raise ZeroDivisionError
        async with self.lock(theirs):
            pass

    async def test_a_lock_is_kept_up(self, coordination: tuple[Coordination, Coordination]) -> None:
        mine, theirs = coordination
        async with self.lock(mine, ttl_s=2.0) as lock:
            taken = lock.lease
            await self.let_pass(0.5)
            await eventually(lambda: lock.lease.deadline > taken.deadline, WITHIN_S, "the lock renewed")
            assert lock.token == taken.token
            assert await theirs.acquire("lock", TTL_S, "host-2") is None

    async def test_a_block_ends_with_its_lost_lock(
        self, coordination: tuple[Coordination, Coordination]
    ) -> None:
        mine, theirs = coordination
        reached = False

        async def hold() -> None:
            nonlocal reached
            async with self.lock(mine, ttl_s=2.0) as lock:
                await self.take_away(lock.lease)
                await asyncio.sleep(WITHIN_S)
                reached = True

        with pytest.raises(LeaseLostError, match="lock"):
            await hold()
        assert not reached
        await asyncio.sleep(0)  # no cancellation is left behind
        await self.acquired(theirs, "lock", "host-2")

    async def test_a_cancelled_block_frees_its_lock(
        self, coordination: tuple[Coordination, Coordination]
    ) -> None:
        mine, theirs = coordination
        inside = asyncio.Event()

        async def hold() -> None:
            async with self.lock(mine, ttl_s=60.0):
                inside.set()
                await asyncio.sleep(WITHIN_S)

        holding = asyncio.create_task(hold())
        await asyncio.wait_for(inside.wait(), WITHIN_S)
        holding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holding
        assert await theirs.acquire("lock", TTL_S, "host-2") is not None

    async def test_a_closed_client_refuses(self, coordination: tuple[Coordination, Coordination]) -> None:
        mine, theirs = coordination
        lease = await mine.acquire("maintenance", 60.0, "host-1")
        assert lease is not None
        await mine.close()
        await mine.close()
        for call in (mine.acquire("a", TTL_S, "host"), mine.renew(lease), mine.get("k"), mine.put("k", b"")):
            with pytest.raises(ClosedError):
                await call
        assert await theirs.acquire("maintenance", TTL_S, "host-2") is None
