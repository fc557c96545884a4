"""The embedded coordination adapter: the contract, and what only files and one host can show."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from millrace_ports.coordination import (
    Coordination,
    CoordinationError,
    Lease,
    LeaseLostError,
    open_coordination,
)
from millrace_ports.coordination.embedded import FileCoordination, read_boot_id, read_boottime
from millrace_testkit.contracts.coordination import TTL_S, WITHIN_S, LeaseContract
from millrace_testkit.contracts.coordination_keys import KeyContract, read


class Boot:
    """A boot whose time is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.id = "first-boot"

    def client(self, root: Path) -> Coordination:
        return open_coordination(f"local:{root}", boottime=lambda: self.seconds, boot_id=lambda: self.id)


class TestLeases(LeaseContract):
    @pytest.fixture
    async def coordination(self, tmp_path: Path) -> AsyncIterator[tuple[Coordination, Coordination]]:
        self.boot = Boot()
        self.boottime = lambda: self.boot.seconds
        clients = self.boot.client(tmp_path / "leases"), self.boot.client(tmp_path / "leases")
        yield clients
        for client in clients:
            await client.close()

    async def let_pass(self, seconds: float) -> None:
        self.boot.seconds += seconds

    async def take_away(self, lease: Lease) -> None:
        self.boot.seconds = lease.deadline


class TestKeys(KeyContract):
    many = 150

    @pytest.fixture
    async def coordination(self, tmp_path: Path) -> AsyncIterator[tuple[Coordination, Coordination]]:
        clients = self.client(tmp_path), self.client(tmp_path)
        yield clients
        for client in clients:
            await client.close()

    def client(self, root: Path) -> Coordination:
        return FileCoordination(root, boottime=read_boottime, boot_id=read_boot_id, history=self.many)

    async def forget_history(self, client: Coordination) -> None:
        for i in range(2 * self.many):
            await client.put("busy", b"%d" % i)


async def test_a_reboot_frees_every_lease_and_keeps_the_tokens_rising(tmp_path: Path) -> None:
    boot = Boot()
    before = boot.client(tmp_path)
    old = await before.acquire("maintenance", TTL_S, "host")
    assert old is not None
    boot.seconds, boot.id = 1.0, "second-boot"  # the clock starts again: the old deadline lies ahead
    new = await boot.client(tmp_path).acquire("maintenance", TTL_S, "host")
    assert new is not None
    assert new.token > old.token
    with pytest.raises(LeaseLostError):
        await before.renew(old)


async def test_a_renewal_that_ends_after_the_old_deadline_is_lost(tmp_path: Path) -> None:
    """The holder is paused inside renew(); a rival may have read the old deadline as passed."""
    boot = Boot()
    lease = await boot.client(tmp_path).acquire("maintenance", TTL_S, "host")
    assert lease is not None
    slow = iter([1001.0, 1001.0, 1000.0 + TTL_S])  # looked, written, looked again
    paused = open_coordination(f"local:{tmp_path}", boottime=lambda: next(slow), boot_id=lambda: boot.id)
    with pytest.raises(LeaseLostError):
        await paused.renew(lease)


async def test_a_late_acquirer_does_not_revive_a_token_that_was_tidied_away(tmp_path: Path) -> None:
    """It looked when token 1 was the newest, and links token 2 when 2 has come, gone and 3 is held."""
    boot = Boot()
    fast = boot.client(tmp_path)
    first = await fast.acquire("maintenance", TTL_S, "fast")
    assert first is not None
    await fast.release(first)
    tokens: list[int] = []

    def overtaken() -> float:
        if not tokens:
            for _ in range(2):
                lease = fast._leases.acquire("maintenance", TTL_S, "fast")  # type: ignore[attr-defined]
                tokens.append(lease.token)
                if lease.token == 2:
                    fast._leases.release(lease)  # type: ignore[attr-defined]
        return boot.seconds

    late = open_coordination(f"local:{tmp_path}", boottime=overtaken, boot_id=lambda: boot.id)
    assert await late.acquire("maintenance", TTL_S, "late") is None
    assert tokens == [2, 3]
    assert [file.name for file in (tmp_path / "maintenance").iterdir()] == ["3.lease"]


async def test_a_damaged_lease_file_is_named(tmp_path: Path) -> None:
    client = Boot().client(tmp_path)
    (tmp_path / "maintenance").mkdir()
    (tmp_path / "maintenance" / "7.lease").write_bytes(b"")
    with pytest.raises(CoordinationError, match=r"7\.lease is not a lease file"):
        await client.acquire("maintenance", TTL_S, "host")


async def test_a_directory_that_cannot_be_written_is_worth_another_try(tmp_path: Path) -> None:
    (tmp_path / "leases").write_text("a file stands in the way")
    with pytest.raises(CoordinationError) as caught:
        await Boot().client(tmp_path / "leases").acquire("maintenance", TTL_S, "host")
    assert caught.value.retryable


_COUNTER = """
import asyncio, sys
from millrace_ports.coordination import open_coordination

async def main():
    client = open_coordination("local:" + sys.argv[1])
    for _ in range(int(sys.argv[2])):
        while True:
            entry = await client.get("counter")
            if entry is None:
                done = await client.create("counter", b"1")
            else:
                done = await client.put("counter", b"%d" % (int(entry.value) + 1), if_revision=entry.revision)
            if done is not None:
                print(done, flush=True)
                break
    await client.close()

asyncio.run(main())
"""


@pytest.mark.faults
async def test_processes_share_keys_and_one_killed_leaves_them_whole(tmp_path: Path) -> None:
    """Two count to the end beside one that is killed in the middle; every step is told once and in order."""
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", _COUNTER, str(tmp_path), count, stdout=asyncio.subprocess.PIPE
        )
        for count in ("30", "30", "100000")
    ]
    try:
        victim = processes[2]
        assert victim.stdout is not None
        said = 0
        for _ in range(20):
            said = int(await asyncio.wait_for(victim.stdout.readline(), WITHIN_S))
        victim.kill()
        finished = await asyncio.wait_for(
            asyncio.gather(*(process.communicate() for process in processes[:2])), WITHIN_S
        )
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert all(len(out.split()) == 30 for out, _ in finished)
    client = open_coordination(f"local:{tmp_path}")
    entry = await client.get("counter")
    assert entry is not None
    assert int(entry.value) >= 80
    events = await read(client, "", 1, int(entry.value))
    assert [int(event.value or b"") for event in events] == list(range(1, int(entry.value) + 1))
    assert said in {event.revision for event in events}
    await client.close()


async def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "keys.sqlite").write_bytes(b"no database" * 100)
    client = open_coordination(f"local:{tmp_path}")
    with pytest.raises(CoordinationError, match=r"MILLRACE_COORDINATION.*keys\.sqlite") as caught:
        await client.get("k")
    assert not caught.value.retryable
    await client.close()


async def test_a_key_store_that_another_holds_is_worth_another_try(tmp_path: Path) -> None:
    client = open_coordination(f"local:{tmp_path}")
    await client.put("k", b"1")
    lock = sqlite3.connect(tmp_path / "keys.sqlite", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    with pytest.raises(CoordinationError) as caught:
        await client.put("k", b"2")
    assert caught.value.retryable
    assert await client.acquire("maintenance", 5.0, "host") is not None
    lock.rollback()
    lock.close()
    assert await client.put("k", b"2") is not None
    await client.close()


_HOLDER = """
import asyncio, sys
from millrace_ports.coordination import LeaseLostError, open_coordination

async def main():
    client = open_coordination("local:" + sys.argv[1])
    lease = await client.acquire("maintenance", 0.5, "child")
    print(lease.token, flush=True)
    try:
        while True:
            lease = await client.renew(lease)
            await asyncio.sleep(0.05)
    except LeaseLostError:
        print("lost", flush=True)

asyncio.run(main())
"""


@pytest.mark.faults
def test_a_paused_holder_loses_its_lease_and_notices(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None
            first = int(holder.stdout.readline())
            client = open_coordination(f"local:{tmp_path}")
            assert asyncio.run(client.acquire("maintenance", 30.0, "parent")) is None
            holder.send_signal(signal.SIGSTOP)
            lease = asyncio.run(_acquired(client))
            assert lease.token > first
            holder.send_signal(signal.SIGCONT)
            assert holder.stdout.readline().strip() == "lost"
            asyncio.run(client.check(lease))
        finally:
            holder.kill()


async def _acquired(client: Coordination) -> Lease:
    async with asyncio.timeout(10):
        while (lease := await client.acquire("maintenance", 30.0, "parent")) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return lease
