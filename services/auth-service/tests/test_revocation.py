"""A revocation is true when the call returns, whatever the cache was doing meanwhile (ID-59)."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service import metrics
from auth_service.database.engine import open_engine
from auth_service.database.migrate import migrate
from auth_service.keys.directory import KeyDirectory
from auth_service.keys.model import IssuedKey
from auth_service.keys.requests import KeyRequest, WorkspaceRequest
from auth_service.keys.verify import StoreVerifier
from millrace_relational import DatabaseUrl
from millrace_runtime.auth import CachedVerifier, Principal
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_testkit.clock import ManualClock

ACTOR = Principal("actor", None, "admin", frozenset(), 0, 10_000)


class HeldSource:
    """The database's verifier; while held, what it has read waits before it is given to the cache."""

    def __init__(self, source: StoreVerifier) -> None:
        self._source = source
        self.has_read = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def check(self, api_key: str) -> Principal:
        principal = await self._source.check(api_key)
        self.has_read.set()
        await self.may_answer.wait()
        return principal


@pytest.fixture
async def engine(url: DatabaseUrl) -> AsyncIterator[AsyncEngine]:
    await migrate(url)
    engine = open_engine(url)
    yield engine
    await engine.dispose()


@pytest.fixture
def source(engine: AsyncEngine, clock: ManualClock) -> HeldSource:
    return HeldSource(StoreVerifier(engine, clock=clock))


@pytest.fixture
def verifier(source: HeldSource, clock: ManualClock) -> CachedVerifier:
    return CachedVerifier(source, clock=clock)


@pytest.fixture
def directory(engine: AsyncEngine, verifier: CachedVerifier, clock: ManualClock) -> KeyDirectory:
    return KeyDirectory(engine, verifier, clock=clock, metrics=metrics.TABLE.build(CollectorRegistry()))


@pytest.fixture
async def issued(directory: KeyDirectory) -> IssuedKey:
    await directory.create_workspace(WorkspaceRequest("shop"), actor=ACTOR)
    return await directory.create_user_key(KeyRequest("app"), workspace="shop", actor=ACTOR)


async def test_a_cached_key_is_refused_after_the_revocation(
    directory: KeyDirectory, verifier: CachedVerifier, issued: IssuedKey
) -> None:
    await verifier.check(issued.text)
    await directory.revoke_key(issued.key.id, actor=ACTOR)

    await _require_revoked(verifier, issued)


async def test_a_fill_that_read_before_the_revocation_does_not_revive_the_key(
    directory: KeyDirectory, verifier: CachedVerifier, source: HeldSource, issued: IssuedKey
) -> None:
    source.may_answer.clear()
    early = asyncio.create_task(verifier.check(issued.text))
    await source.has_read.wait()
    await directory.revoke_key(issued.key.id, actor=ACTOR)
    source.may_answer.set()

    assert (await early).key_id == issued.key.id  # it began before the revocation returned
    await _require_revoked(verifier, issued)


async def test_a_caller_that_hangs_up_does_not_stop_a_revocation_half_way(
    directory: KeyDirectory, verifier: CachedVerifier, issued: IssuedKey
) -> None:
    """Wherever the cancellation falls, database and cache agree in the end."""
    await verifier.check(issued.text)
    call = asyncio.create_task(directory.revoke_key(issued.key.id, actor=ACTOR))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    await directory.revoke_key(issued.key.id, actor=ACTOR)  # waits for the write lock behind the first
    await _require_revoked(verifier, issued)


async def test_two_revocations_at_once(directory: KeyDirectory, issued: IssuedKey) -> None:
    keys = await asyncio.gather(*(directory.revoke_key(issued.key.id, actor=ACTOR) for _ in range(2)))

    assert [key.enabled for key in keys] == [False, False]


async def test_a_key_outlives_a_restart_and_so_does_its_revocation(
    engine: AsyncEngine, url: DatabaseUrl, directory: KeyDirectory, issued: IssuedKey, clock: ManualClock
) -> None:
    gone = await directory.create_user_key(KeyRequest("gone"), workspace="shop", actor=ACTOR)
    await directory.revoke_key(gone.key.id, actor=ACTOR)
    await engine.dispose()

    await migrate(url)
    later = open_engine(url)
    try:
        verifier = CachedVerifier(StoreVerifier(later, clock=clock), clock=clock)
        assert (await verifier.check(issued.text)).key_id == issued.key.id
        await _require_revoked(verifier, gone)
    finally:
        await later.dispose()


async def test_the_cache_is_bounded_and_holds_no_key_text(
    source: HeldSource, directory: KeyDirectory, clock: ManualClock, issued: IssuedKey
) -> None:
    small = CachedVerifier(source, clock=clock, max_entries=2)
    for name in ("a", "b", "c"):
        made = await directory.create_user_key(KeyRequest(name), workspace="shop", actor=ACTOR)
        await small.check(made.text)

    assert len(small) == 2
    assert made.text not in repr(vars(small))
    assert made.text[-16:] not in repr(made)


async def _require_revoked(verifier: CachedVerifier, issued: IssuedKey) -> None:
    with pytest.raises(ServiceError) as refused:
        await verifier.check(issued.text)
    assert refused.value.code is ErrorCode.API_KEY_DISABLED
