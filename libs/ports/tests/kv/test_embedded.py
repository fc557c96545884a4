"""The embedded key-value store: the contract, and what its file promises."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from millrace_ports.kv import Kv, KvError, KvRefusedError, KvUrlError, open_kv
from millrace_testkit.clock import ManualClock
from millrace_testkit.contracts.kv import KvContract
from millrace_testkit.eventually import eventually, eventually_true

WITHIN_S = 20.0


def opened(root: Path, clock: ManualClock) -> Kv:
    return open_kv(f"memory:{root}", now_ms=clock.now_ms)


class TestEmbedded(KvContract):
    @pytest.fixture
    async def kv(self, tmp_path: Path) -> AsyncIterator[Kv]:
        self.clock = ManualClock()
        store = opened(tmp_path / "kv", self.clock)
        yield store
        await store.close()

    async def let_pass(self, seconds: float) -> None:
        self.clock.advance(seconds)


async def test_a_clean_restart_loses_nothing_and_time_goes_on_meanwhile(tmp_path: Path) -> None:
    clock = ManualClock()
    before = opened(tmp_path, clock)
    await before.set("kept", b"\x00value")
    await before.set("short", b"1", ttl_s=5)
    await before.set("long", b"1", ttl_s=50)
    await before.increment("counter", 7)
    for _ in range(2):
        assert (await before.admit("limit", limit=2, window_s=50)).admitted
    await before.close()
    clock.advance(10)
    after = opened(tmp_path, clock)
    assert await after.get("kept") == b"\x00value"
    assert await after.get("short") is None
    assert await after.get("long") == b"1"
    assert await after.increment("counter") == 8
    refused = await after.admit("limit", limit=2, window_s=50)
    assert (refused.admitted, refused.retry_after_s) == (False, 40.0)
    clock.advance(40)
    assert await after.get("long") is None
    assert (await after.admit("limit", limit=2, window_s=50)).admitted
    await after.close()


async def test_a_clock_set_back_does_not_lock_a_limit(tmp_path: Path) -> None:
    clock = ManualClock()
    kv = opened(tmp_path, clock)
    assert (await kv.admit("k", limit=1, window_s=60)).admitted
    clock.set_ms(clock.now_ms() - 3_600_000)
    assert (await kv.admit("k", limit=1, window_s=60)).admitted
    assert not (await kv.admit("k", limit=1, window_s=60)).admitted
    await kv.close()


_WRITER = """
import asyncio, sys
from millrace_ports.kv import open_kv

async def main():
    kv = open_kv("memory:" + sys.argv[1])
    while True:
        print(await kv.increment("counter"), flush=True)
        await asyncio.sleep(0.005)

asyncio.run(main())
"""


@pytest.mark.faults
def test_a_killed_process_loses_its_last_moments_only(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        try:
            said = [int(writer.stdout.readline())]
            while not (tmp_path / "kv.snapshot").exists():
                said.append(int(writer.stdout.readline()))
        finally:
            writer.send_signal(signal.SIGKILL)
    assert len(said) < WITHIN_S / 0.005
    found = int(asyncio.run(value_of(tmp_path, "counter")) or b"0")
    assert 1 <= found <= said[-1] + 1


async def value_of(root: Path, key: str) -> bytes | None:
    kv = open_kv(f"memory:{root}")
    value = await kv.get(key)
    await kv.close()
    return value


async def test_a_change_is_on_disk_soon_without_a_stop(tmp_path: Path) -> None:
    kv = open_kv(f"memory:{tmp_path}")
    await kv.set("k", b"unmistakable")
    file = tmp_path / "kv.snapshot"
    await eventually(lambda: b"unmistakable" in read_if_there(file), WITHIN_S, "the value on disk")
    await kv.close()


async def test_expired_keys_leave_the_file(tmp_path: Path) -> None:
    clock = ManualClock()
    kv = opened(tmp_path, clock)
    for i in range(100):
        await kv.set(f"key-{i}", b"unmistakable", ttl_s=1)
    clock.advance(2)
    await kv.set("other", b"1")
    await kv.close()
    assert b"unmistakable" not in (tmp_path / "kv.snapshot").read_bytes()


async def test_a_second_process_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    first = open_kv(f"memory:{tmp_path}")
    with pytest.raises(KvRefusedError, match=r"MILLRACE_KV.*in use"):
        open_kv(f"memory:{tmp_path}")
    await first.close()
    second = open_kv(f"memory:{tmp_path}")
    await second.close()


@pytest.mark.parametrize("content", [b"", b"\xc1", b"\x80", b"\x82\xa6format\x63\xa7entries\x80"])
async def test_a_damaged_snapshot_is_named_and_kept(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "kv.snapshot").write_bytes(content)
    for _ in range(2):
        with pytest.raises(KvRefusedError, match=r"MILLRACE_KV.*kv\.snapshot"):
            open_kv(f"memory:{tmp_path}")
    assert (tmp_path / "kv.snapshot").read_bytes() == content


async def test_a_snapshot_that_cannot_be_written_is_told_and_tried_again(tmp_path: Path) -> None:
    root = tmp_path / "kv"
    kv = open_kv(f"memory:{root}")
    blocker = root / ".kv.snapshot.tmp"
    blocker.mkdir()  # stands in the way of the temporary file
    await kv.set("k", b"1")
    troubles: list[KvError] = []

    async def healthy() -> bool:
        try:
            await kv.check()
        except KvError as error:
            troubles.append(error)
            return False
        return True

    async def troubled() -> bool:
        return not await healthy()

    await eventually_true(troubled, WITHIN_S, "a failed snapshot told by check")
    assert troubles[0].retryable
    assert await kv.get("k") == b"1"
    blocker.rmdir()
    await eventually_true(healthy, WITHIN_S, "the snapshot after all")
    assert (root / "kv.snapshot").exists()
    await kv.close()


async def test_a_directory_that_cannot_be_made_is_worth_another_try(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(KvError) as caught:
        open_kv(f"memory:{tmp_path / 'file' / 'kv'}")
    assert caught.value.retryable


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory:",
        "memory:relative",
        "postgresql://user:secret@host/db",
        "redis:",
        "redis://",
        "redis://user:secret@host:port",
        "redis://user:secret@a:1,b:2",
        "redis://user:secret@host/name",
        "redis://user:secret@host?db=1",
        "redis://user:sec#ret@host",
        "redis+cluster://user:secret@host/1",
        "redis+cluster://user:secret@a:1,",
    ],
)
def test_a_url_that_names_no_backend_names_the_variable(url: str) -> None:
    with pytest.raises(KvUrlError, match="MILLRACE_KV") as caught:
        open_kv(url)
    assert "secret" not in str(caught.value)
    assert "sec#" not in str(caught.value)


def test_trusted_certificates_need_tls_and_a_file(tmp_path: Path) -> None:
    with pytest.raises(KvUrlError, match=r"MILLRACE_REDIS_CA_FILE.*rediss://"):
        open_kv("redis://127.0.0.1", redis_ca_file=tmp_path / "ca.pem")
    with pytest.raises(KvUrlError, match=r"MILLRACE_REDIS_CA_FILE.*ca\.pem"):
        open_kv("rediss://127.0.0.1", redis_ca_file=tmp_path / "ca.pem")
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(KvUrlError, match=r"MILLRACE_REDIS_CA_FILE.*ca\.pem"):
        open_kv("rediss://127.0.0.1", redis_ca_file=tmp_path / "ca.pem")


def read_if_there(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""
