"""What every key-value adapter must do. Subclass, give the fixture `kv` and `let_pass`."""

from __future__ import annotations

import asyncio

import pytest

from millrace_ports.errors import ClosedError
from millrace_ports.kv import Kv, KvValueError

TTL_S = 1.0
LARGEST = 2**63 - 1


class KvContract:
    """The suite; an adapter's test class inherits it unchanged.

    A subclass has a fixture `kv`, a store without keys of earlier tests, and overrides `let_pass`, which lets
    the backend's time go on: a manual clock is advanced, a real server is waited for.
    """

    async def let_pass(self, seconds: float) -> None:
        raise NotImplementedError

    async def test_a_value_is_kept_as_it_is(self, kv: Kv) -> None:
        for key, value in {"a": b"", "a b\r\n": b"\x00\xff\r\n", "名{x}": b"x" * 100_000}.items():
            assert await kv.get(key) is None
            await kv.set(key, value)
            assert await kv.get(key) == value

    async def test_a_later_value_replaces_an_earlier_one(self, kv: Kv) -> None:
        await kv.set("k", b"1")
        await kv.set("k", b"2")
        assert await kv.get("k") == b"2"

    async def test_a_deleted_key_is_absent(self, kv: Kv) -> None:
        await kv.set("k", b"1")
        assert await kv.delete("k")
        assert await kv.get("k") is None
        assert not await kv.delete("k")

    async def test_a_value_expires(self, kv: Kv) -> None:
        await kv.set("k", b"1", ttl_s=TTL_S)
        assert await kv.get("k") == b"1"
        await self.let_pass(TTL_S + 0.1)
        assert await kv.get("k") is None
        assert not await kv.delete("k")

    async def test_a_set_without_time_to_live_ends_an_earlier_one(self, kv: Kv) -> None:
        await kv.set("set", b"1", ttl_s=TTL_S)
        await kv.set("set", b"2")
        await kv.set("compared", b"1", ttl_s=TTL_S)
        assert await kv.compare_and_set("compared", b"1", b"2")
        await self.let_pass(TTL_S + 0.1)
        assert await kv.get("set") == b"2"
        assert await kv.get("compared") == b"2"

    async def test_compare_and_set_changes_only_what_was_expected(self, kv: Kv) -> None:
        await kv.set("k", b"1")
        assert not await kv.compare_and_set("k", b"2", b"3")
        assert await kv.get("k") == b"1"
        assert await kv.compare_and_set("k", b"1", b"3", ttl_s=TTL_S)
        assert await kv.get("k") == b"3"
        await self.let_pass(TTL_S + 0.1)
        assert not await kv.compare_and_set("k", b"3", b"4")

    async def test_compare_and_set_creates_only_what_is_absent(self, kv: Kv) -> None:
        assert await kv.compare_and_set("k", None, b"1", ttl_s=TTL_S)
        assert not await kv.compare_and_set("k", None, b"2")
        assert await kv.get("k") == b"1"
        await self.let_pass(TTL_S + 0.1)
        assert await kv.compare_and_set("k", None, b"")
        assert not await kv.compare_and_set("k", None, b"2")

    async def test_compare_and_set_deletes_only_what_was_expected(self, kv: Kv) -> None:
        await kv.set("k", b"")
        assert not await kv.compare_and_set("k", b"2", None)
        assert await kv.compare_and_set("k", b"", None)
        assert await kv.get("k") is None
        assert not await kv.compare_and_set("k", b"", None)

    async def test_one_of_many_wins_a_comparison(self, kv: Kv) -> None:
        await kv.set("k", b"start")
        won = await asyncio.gather(*(kv.compare_and_set("k", b"start", b"%d" % i) for i in range(20)))
        assert won.count(True) == 1
        assert await kv.get("k") == b"%d" % won.index(True)

    async def test_increments_add_up(self, kv: Kv) -> None:
        sums = await asyncio.gather(*(kv.increment("k") for _ in range(50)))
        assert sorted(sums) == list(range(1, 51))
        assert await kv.increment("k", -51) == -1
        assert await kv.get("k") == b"-1"
        await kv.set("k", b"41")
        assert await kv.increment("k") == 42

    async def test_counters_are_exact_up_to_64_bits(self, kv: Kv) -> None:
        assert await kv.increment("plain", LARGEST - 1) == LARGEST - 1
        assert await kv.increment("plain") == LARGEST
        assert await kv.increment("timed", LARGEST - 1, ttl_s=60) == LARGEST - 1
        assert await kv.increment("timed", 1, ttl_s=60) == LARGEST
        for key in ("plain", "timed"):
            with pytest.raises(KvValueError):
                await kv.increment(key, ttl_s=60)
            assert await kv.get(key) == b"%d" % LARGEST

    async def test_a_counter_keeps_the_expiry_of_its_creation(self, kv: Kv) -> None:
        assert await kv.increment("k", ttl_s=TTL_S) == 1
        await self.let_pass(TTL_S * 0.6)
        assert await kv.increment("k", ttl_s=TTL_S) == 2
        await self.let_pass(TTL_S * 0.5)
        assert await kv.increment("k", ttl_s=TTL_S) == 1

    async def test_a_counter_without_expiry_gets_none_later(self, kv: Kv) -> None:
        await kv.increment("k")
        await kv.increment("k", ttl_s=TTL_S)
        await self.let_pass(TTL_S + 0.1)
        assert await kv.get("k") == b"2"

    async def test_a_limit_admits_so_many_in_any_window(self, kv: Kv) -> None:
        for _ in range(2):
            assert (await kv.admit("k", limit=3, window_s=TTL_S)).admitted
        await self.let_pass(TTL_S * 0.6)
        assert (await kv.admit("k", limit=3, window_s=TTL_S)).admitted
        refused = await kv.admit("k", limit=3, window_s=TTL_S)
        assert not refused.admitted
        assert 0 < refused.retry_after_s <= TTL_S * 0.4
        await self.let_pass(refused.retry_after_s + 0.01)
        answers = [(await kv.admit("k", limit=3, window_s=TTL_S)).admitted for _ in range(3)]
        assert answers == [True, True, False]  # the third of the first window still counts

    async def test_refused_events_do_not_count(self, kv: Kv) -> None:
        assert (await kv.admit("k", limit=1, window_s=TTL_S)).admitted
        for _ in range(3):
            assert not (await kv.admit("k", limit=1, window_s=TTL_S)).admitted
        await self.let_pass(TTL_S + 0.1)
        assert (await kv.admit("k", limit=1, window_s=TTL_S)).admitted

    async def test_a_limit_may_change(self, kv: Kv) -> None:
        for _ in range(4):
            assert (await kv.admit("k", limit=4, window_s=60)).admitted
        assert not (await kv.admit("k", limit=2, window_s=60)).admitted
        assert (await kv.admit("k", limit=5, window_s=60)).admitted
        assert not (await kv.admit("k", limit=5, window_s=60)).admitted

    async def test_a_race_for_a_limit_is_exact(self, kv: Kv) -> None:
        answers = await asyncio.gather(*(kv.admit("k", limit=10, window_s=60) for _ in range(40)))
        assert sum(answer.admitted for answer in answers) == 10

    async def test_ranges_are_claimed_once_and_end_at_the_maximum(self, kv: Kv) -> None:
        await kv.set("k", b"1000")
        starts = await asyncio.gather(*(kv.claim("k", 10, maximum=1100) for _ in range(20)))
        assert sorted(start for start in starts if start is not None) == list(range(1000, 1100, 10))
        assert await kv.get("k") == b"1100"

    async def test_a_range_that_does_not_fit_leaves_the_counter(self, kv: Kv) -> None:
        await kv.set("k", b"95")
        assert await kv.claim("k", 6, maximum=100) is None
        assert await kv.claim("k", 200, maximum=100) is None
        assert await kv.claim("k", 5, maximum=100) == 95
        assert await kv.claim("k", 1, maximum=100) is None

    async def test_ranges_are_exact_up_to_64_bits(self, kv: Kv) -> None:
        await kv.set("k", b"%d" % (LARGEST - 3))
        assert await kv.claim("k", 2, maximum=LARGEST - 2) is None
        assert await kv.claim("k", 2, maximum=LARGEST) == LARGEST - 3
        assert await kv.claim("k", 2, maximum=LARGEST) is None
        assert await kv.claim("k", 1, maximum=LARGEST) == LARGEST - 1
        await kv.set("k", b"9")
        assert await kv.claim("k", 1, maximum=10) == 9  # compared as numbers, not as text
        assert await kv.claim("k", 1, maximum=10) is None

    async def test_an_absent_counter_gives_no_range(self, kv: Kv) -> None:
        assert await kv.claim("k", 1, maximum=100) is None
        assert await kv.get("k") is None

    async def test_a_claim_renews_the_time_to_live_when_asked_to(self, kv: Kv) -> None:
        await kv.set("renewed", b"0", ttl_s=TTL_S)
        await kv.set("kept", b"0", ttl_s=TTL_S)
        await self.let_pass(TTL_S * 0.6)
        assert await kv.claim("renewed", 1, maximum=9, ttl_s=TTL_S) == 0
        assert await kv.claim("kept", 1, maximum=9) == 0
        await self.let_pass(TTL_S * 0.5)
        assert await kv.claim("renewed", 1, maximum=9) == 1
        assert await kv.claim("kept", 1, maximum=9) is None

    async def test_one_of_many_takes_a_value(self, kv: Kv) -> None:
        await kv.set("k", b"code")
        taken = await asyncio.gather(*(kv.take("k") for _ in range(20)))
        assert sorted(taken, key=lambda value: value is None) == [b"code"] + [None] * 19
        assert await kv.get("k") is None

    async def test_an_expired_value_cannot_be_taken(self, kv: Kv) -> None:
        await kv.set("k", b"code", ttl_s=TTL_S)
        await self.let_pass(TTL_S + 0.1)
        assert await kv.take("k") is None

    @pytest.mark.parametrize("value", [b"", b"x", b" 1", b"1 ", b"+1", b"01", b"1.0", b"9223372036854775808"])
    async def test_what_is_no_integer_is_not_counted_on(self, kv: Kv, value: bytes) -> None:
        await kv.set("k", value)
        with pytest.raises(KvValueError):
            await kv.increment("k")
        with pytest.raises(KvValueError):
            await kv.increment("k", ttl_s=60)
        with pytest.raises(KvValueError):
            await kv.claim("k", 1, maximum=LARGEST)
        assert await kv.get("k") == value

    async def test_a_negative_counter_gives_no_range(self, kv: Kv) -> None:
        await kv.increment("k", -5)
        with pytest.raises(KvValueError):
            await kv.claim("k", 1, maximum=100)
        assert await kv.get("k") == b"-5"

    async def test_limits_and_values_do_not_mix(self, kv: Kv) -> None:
        await kv.admit("limit", limit=5, window_s=60)
        with pytest.raises(KvValueError):
            await kv.get("limit")
        with pytest.raises(KvValueError):
            await kv.take("limit")
        with pytest.raises(KvValueError):
            await kv.increment("limit")
        with pytest.raises(KvValueError):
            await kv.claim("limit", 1, maximum=10)
        with pytest.raises(KvValueError):
            await kv.compare_and_set("limit", b"1", b"2")
        assert not await kv.compare_and_set("limit", None, b"1")
        await kv.set("value", b"1")
        with pytest.raises(KvValueError):
            await kv.admit("value", limit=5, window_s=60)
        await kv.set("limit", b"a value again")
        assert await kv.get("limit") == b"a value again"
        assert await kv.delete("limit")

    async def test_arguments_that_make_no_sense_are_refused(self, kv: Kv) -> None:
        await kv.set("k", b"1")
        senseless = [
            kv.get(""),
            kv.set("", b""),
            kv.set("k", b"", ttl_s=0),
            kv.set("k", b"", ttl_s=-1),
            kv.set("k", b"", ttl_s=float("inf")),
            kv.delete(""),
            kv.compare_and_set("k", None, None),
            kv.compare_and_set("k", b"1", b"2", ttl_s=0),
            kv.increment("k", LARGEST + 1),
            kv.increment("k", ttl_s=0),
            kv.admit("limit", limit=0, window_s=1),
            kv.admit("limit", limit=1, window_s=0),
            kv.claim("k", 0, maximum=10),
            kv.claim("k", 1, maximum=-1),
            kv.claim("k", 1, maximum=LARGEST + 1),
            kv.take(""),
        ]
        for call in senseless:
            with pytest.raises(ValueError, match=r"key|ttl_s|both|by|limit|window_s|count|maximum"):
                await call
        assert await kv.get("k") == b"1"
        assert await kv.delete("k")
        assert not await kv.delete("limit")

    async def test_a_closed_store_refuses(self, kv: Kv) -> None:
        await kv.check()
        await kv.close()
        await kv.close()
        for call in (kv.get("k"), kv.set("k", b""), kv.increment("k"), kv.check()):
            with pytest.raises(ClosedError):
                await call
