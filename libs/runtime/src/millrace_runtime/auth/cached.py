"""Checked keys kept for a while, and forgotten at once when revoked."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from millrace_runtime.auth.principal import Principal, Verifier, key_hash
from millrace_runtime.clock import Clock
from millrace_runtime.errors import ErrorCode, ServiceError

PROBE_EVERY_S: Final = 1.0
"""While the source is away it is asked this often, by whoever comes first; it may take seconds not to answer."""


class _Known(NamedTuple):
    """A key that the source confirmed, asked at `asked_at` by the monotonic clock."""

    principal: Principal
    asked_at: float


class CachedVerifier:
    """A `Verifier` that asks `source` once per key and `ttl_s` (ID-58).

    Holds at most `max_entries` principals by the hash of their key, the least recently used go
    first; no key text is kept, and no refusal. Expiry is checked at every request. After `evict`
    returns no later check answers from what was read before it.

    While the source cannot tell (UNAVAILABLE), a key goes on until `outage_s` after it was last confirmed.
    """

    def __init__(
        self,
        source: Verifier,
        *,
        clock: Clock,
        ttl_s: float = 300.0,
        outage_s: float = 0.0,
        max_entries: int = 10_000,
    ) -> None:
        self._source = source
        self._clock = clock
        self._ttl_s = ttl_s
        self._kept_s = max(ttl_s, outage_s)
        self._max_entries = max_entries
        self._entries: OrderedDict[str, _Known] = OrderedDict()
        self._generation = 0
        self._probe_at: float | None = None
        self.hits = 0
        self.misses = 0
        self.outages = 0

    def __len__(self) -> int:
        return len(self._entries)

    async def check(self, api_key: str) -> Principal:
        """As `Verifier.check`; concurrent misses of one key each ask the source."""
        hashed = key_hash(api_key)
        now = self._clock.monotonic()
        known = self._known(hashed, now)
        if known is not None and now < known.asked_at + self._ttl_s:
            self.hits += 1
            principal = known.principal
        elif known is not None and self._probe_at is not None and now < self._probe_at:
            self.outages += 1
            principal = known.principal
        else:
            principal = await self._ask(api_key, hashed, now)
        if principal.expires_at_ms and self._clock.now_ms() >= principal.expires_at_ms:
            raise ServiceError(ErrorCode.API_KEY_EXPIRED, "the API key has expired")
        return principal

    def evict(self, key_hash: str) -> None:
        """Forget one key, by `key_hash(api_key)`: call it after the source has committed the change."""
        self._generation += 1
        self._entries.pop(key_hash, None)

    def evict_all(self) -> None:
        """Forget every key, for a change that names none (a workspace disabled)."""
        self._generation += 1
        self._entries.clear()

    def export(self, registry: CollectorRegistry) -> None:
        """Show hits, misses and size of the cache in `registry`; nothing is counted twice for it."""
        registry.register(_CacheCollector(self))

    async def _ask(self, api_key: str, hashed: str, now: float) -> Principal:
        # A revocation may come between the source's read and our fill: the source answers
        # "active", the key is revoked, evict finds nothing to remove, and the fill would revive
        # the key for a whole TTL. Every evict moves the generation, and a fill whose
        # generation has passed is not kept.
        generation = self._generation
        if self._probe_at is not None:  # away when last asked: others go on with what they know meanwhile
            self._probe_at = now + PROBE_EVERY_S
        try:
            principal = await self._source.check(api_key)
        except ServiceError as error:
            known = self._refused(hashed, error)
            if known is None:
                self.misses += 1
                raise
            self.outages += 1
            return known.principal
        self.misses += 1
        self._probe_at = None
        if generation == self._generation:
            self._keep(hashed, principal, now)
        return principal

    def _refused(self, hashed: str, error: ServiceError) -> _Known | None:
        """What goes on although the source gave `error`: a known key while the source cannot tell."""
        now = self._clock.monotonic()
        if error.code is ErrorCode.UNAVAILABLE:
            self._probe_at = now + PROBE_EVERY_S
            return self._known(hashed, now)
        self._probe_at = None
        if hashed in self._entries:  # it would live again in an outage
            self.evict(hashed)
        return None

    def _known(self, hashed: str, now: float) -> _Known | None:
        known = self._entries.get(hashed)
        if known is None:
            return None
        if now >= known.asked_at + self._kept_s:
            del self._entries[hashed]
            return None
        self._entries.move_to_end(hashed)
        return known

    def _keep(self, hashed: str, principal: Principal, asked_at: float) -> None:
        self._entries[hashed] = _Known(principal, asked_at)
        self._entries.move_to_end(hashed)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)


class _CacheCollector(Collector):
    def __init__(self, cache: CachedVerifier) -> None:
        self._cache = cache

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "millrace_auth_cache_requests",
            "API key checks by whether the cache knew the key, or did while nobody could be asked",
            labels=["result"],
        )
        requests.add_metric(["hit"], self._cache.hits)
        requests.add_metric(["miss"], self._cache.misses)
        requests.add_metric(["outage"], self._cache.outages)
        yield requests
        yield GaugeMetricFamily("millrace_auth_cache_entries", "API keys held in the cache", len(self._cache))
