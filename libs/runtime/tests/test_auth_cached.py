import asyncio

import pytest
from prometheus_client import CollectorRegistry

from millrace_runtime.auth import CachedVerifier, Principal, key_hash
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_testkit.clock import ManualClock


def principal(key_id: str = "k-1", expires_at_ms: int = 0) -> Principal:
    return Principal(key_id, "demo", "user", frozenset({"lake:read"}), expires_at_ms, 1000)


class Keys:
    """A source of truth: keys by text, and a gate at which its answers may be held."""

    def __init__(self, *keys: str) -> None:
        self.active = {key: principal(key) for key in keys}
        self.asked: list[str] = []
        self.read = asyncio.Event()
        self.gate: asyncio.Event | None = None
        self.away = False

    async def check(self, api_key: str) -> Principal:
        self.asked.append(api_key)
        found = self.active.get(api_key)
        self.read.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            raise ServiceError(ErrorCode.UNAVAILABLE, "nobody can tell now")
        if found is None:
            raise ServiceError(ErrorCode.INVALID_API_KEY, "the API key is not known")
        return found


async def code_of(verifier: CachedVerifier, key: str) -> ErrorCode:
    with pytest.raises(ServiceError) as caught:
        await verifier.check(key)
    return caught.value.code


async def test_a_key_is_asked_for_once_per_ttl(clock: ManualClock) -> None:
    keys = Keys("a")
    verifier = CachedVerifier(keys, clock=clock, ttl_s=300)
    assert [await verifier.check("a") for _ in range(3)] == [principal("a")] * 3
    clock.advance(299.999)
    await verifier.check("a")
    assert keys.asked == ["a"]
    clock.advance(0.001)
    await verifier.check("a")
    assert keys.asked == ["a", "a"]


async def test_a_refusal_is_not_kept(clock: ManualClock) -> None:
    keys = Keys()
    verifier = CachedVerifier(keys, clock=clock)
    assert await code_of(verifier, "a") is ErrorCode.INVALID_API_KEY
    keys.active["a"] = principal("a")
    assert await verifier.check("a") == principal("a")


async def test_expiry_is_checked_at_every_request(clock: ManualClock) -> None:
    keys = Keys()
    keys.active["a"] = principal("a", expires_at_ms=clock.now_ms() + 10_000)
    verifier = CachedVerifier(keys, clock=clock)
    await verifier.check("a")
    clock.advance(9.999)
    await verifier.check("a")
    clock.advance(0.001)
    assert await code_of(verifier, "a") is ErrorCode.API_KEY_EXPIRED
    assert keys.asked == ["a"]


async def test_an_evicted_key_is_asked_for_again(clock: ManualClock) -> None:
    keys = Keys("a", "b")
    verifier = CachedVerifier(keys, clock=clock)
    await verifier.check("a")
    await verifier.check("b")
    del keys.active["a"]
    verifier.evict(key_hash("a"))
    assert await code_of(verifier, "a") is ErrorCode.INVALID_API_KEY
    await verifier.check("b")
    assert keys.asked == ["a", "b", "a"]


async def test_a_revocation_during_a_fill_leaves_no_stale_entry(clock: ManualClock) -> None:
    keys = Keys("a")
    verifier = CachedVerifier(keys, clock=clock)
    keys.gate = asyncio.Event()
    filling = asyncio.create_task(verifier.check("a"))
    await keys.read.wait()  # the source has read "active", its answer is on the way

    del keys.active["a"]
    verifier.evict(key_hash("a"))  # finds nothing: the entry is not there yet
    keys.gate.set()
    await filling  # was asked before the revocation: may still answer

    assert await code_of(verifier, "a") is ErrorCode.INVALID_API_KEY


async def test_all_keys_can_be_forgotten_also_those_being_filled(clock: ManualClock) -> None:
    keys = Keys("a", "b")
    verifier = CachedVerifier(keys, clock=clock)
    await verifier.check("a")
    keys.gate, keys.read = asyncio.Event(), asyncio.Event()
    filling = asyncio.create_task(verifier.check("b"))
    await keys.read.wait()
    keys.active.clear()
    verifier.evict_all()
    keys.gate.set()
    await filling
    assert len(verifier) == 0
    assert await code_of(verifier, "a") is ErrorCode.INVALID_API_KEY
    assert await code_of(verifier, "b") is ErrorCode.INVALID_API_KEY


async def test_the_least_recently_used_entry_makes_room(clock: ManualClock) -> None:
    keys = Keys("a", "b", "c")
    verifier = CachedVerifier(keys, clock=clock, max_entries=2)
    for key in ("a", "b", "a", "c"):
        await verifier.check(key)
    assert len(verifier) == 2
    await verifier.check("a")
    assert keys.asked == ["a", "b", "c"]
    await verifier.check("b")
    assert keys.asked == ["a", "b", "c", "b"]


async def test_no_key_text_is_kept(clock: ManualClock) -> None:
    verifier = CachedVerifier(Keys("idgen_demo_secret"), clock=clock)
    verifier._source = Keys()  # the source of this test holds the text itself
    verifier._keep(key_hash("idgen_demo_secret"), principal(), 1e9)
    assert "idgen_demo_secret" not in repr(vars(verifier))


def in_outages(keys: Keys, clock: ManualClock) -> CachedVerifier:
    """Asks again after 4 s, and goes on for 60 s while the source is away."""
    return CachedVerifier(keys, clock=clock, ttl_s=4, outage_s=60)


async def test_in_an_outage_known_keys_go_on_for_its_time_and_others_are_not_told_to_be_wrong(
    clock: ManualClock,
) -> None:
    keys = Keys("a", "b")
    verifier = in_outages(keys, clock)
    await verifier.check("a")
    keys.away = True
    for _ in range(6):
        clock.advance(9.999)
        assert await verifier.check("a") == principal("a")
        assert await code_of(verifier, "b") is ErrorCode.UNAVAILABLE
    clock.advance(0.006)  # a minute after it was confirmed
    assert await code_of(verifier, "a") is ErrorCode.UNAVAILABLE
    keys.away = False
    assert await verifier.check("a") == principal("a")
    assert await verifier.check("b") == principal("b")


async def test_in_an_outage_one_check_a_second_waits_for_the_source(clock: ManualClock) -> None:
    keys = Keys("a", "b")
    verifier = in_outages(keys, clock)
    await verifier.check("a")
    await verifier.check("b")
    keys.away = True
    clock.advance(4)
    await verifier.check("a")
    keys.asked.clear()
    for _ in range(20):
        clock.advance(0.1)
        assert await verifier.check("a") == principal("a")
    assert keys.asked == ["a", "a"]

    # Whoever asks the silent source waits for it; the others do not.
    clock.advance(1)
    keys.gate, keys.read = asyncio.Event(), asyncio.Event()
    asking = asyncio.create_task(verifier.check("a"))
    await keys.read.wait()
    assert await verifier.check("b") == principal("b")
    keys.gate.set()
    assert await asking == principal("a")


async def test_after_an_outage_a_revoked_key_is_refused_within_a_second(clock: ManualClock) -> None:
    keys = Keys("a")
    verifier = in_outages(keys, clock)
    await verifier.check("a")
    keys.away = True
    clock.advance(30)
    await verifier.check("a")
    del keys.active["a"]
    keys.away = False
    clock.advance(1)
    assert await code_of(verifier, "a") is ErrorCode.INVALID_API_KEY


async def test_a_refused_key_does_not_live_again_in_an_outage(clock: ManualClock) -> None:
    keys = Keys("a")
    verifier = in_outages(keys, clock)
    await verifier.check("a")
    clock.advance(4)
    keys.gate, keys.read = asyncio.Event(), asyncio.Event()
    early = asyncio.create_task(verifier.check("a"))
    await keys.read.wait()  # the source has read "active", its answer is on the way
    early_gate, keys.gate = keys.gate, None
    del keys.active["a"]
    assert await code_of(verifier, "a") is ErrorCode.INVALID_API_KEY
    early_gate.set()
    await early

    keys.away = True
    assert await code_of(verifier, "a") is ErrorCode.UNAVAILABLE


async def test_an_evicted_key_does_not_go_on_in_an_outage(clock: ManualClock) -> None:
    keys = Keys("a")
    verifier = in_outages(keys, clock)
    await verifier.check("a")
    keys.away = True
    verifier.evict(key_hash("a"))
    assert await code_of(verifier, "a") is ErrorCode.UNAVAILABLE


async def test_without_a_time_for_outages_only_fresh_keys_go_on(clock: ManualClock) -> None:
    keys = Keys("a")
    verifier = CachedVerifier(keys, clock=clock, ttl_s=300)
    await verifier.check("a")
    keys.away = True
    clock.advance(299.999)
    await verifier.check("a")
    clock.advance(0.001)
    assert await code_of(verifier, "a") is ErrorCode.UNAVAILABLE


async def test_hits_and_misses_are_exported(clock: ManualClock) -> None:
    registry = CollectorRegistry()
    verifier = CachedVerifier(Keys("a"), clock=clock)
    verifier.export(registry)
    for _ in range(3):
        await verifier.check("a")

    def requests(result: str) -> float | None:
        return registry.get_sample_value("millrace_auth_cache_requests_total", {"result": result})

    assert (requests("hit"), requests("miss"), requests("outage")) == (2, 1, 0)
    assert registry.get_sample_value("millrace_auth_cache_entries") == 1


def test_a_principal_may_only_what_its_scopes_say() -> None:
    principal().require("lake:read")
    with pytest.raises(ServiceError, match="lake:sql") as caught:
        principal().require("lake:sql")
    assert caught.value.code is ErrorCode.FORBIDDEN


def test_any_text_has_a_hash() -> None:
    assert key_hash("a") != key_hash("\ud800")
    assert len(key_hash("\ud800")) == 64
