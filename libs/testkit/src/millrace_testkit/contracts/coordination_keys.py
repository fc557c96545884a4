"""What every coordination adapter must do for keys and watches."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import ClassVar, cast

import pytest

from millrace_ports.coordination import Coordination, Event, HistoryLostError
from millrace_ports.coordination.port import MAX_VALUE_BYTES
from millrace_ports.errors import ClosedError

WITHIN_S = 20.0
Pair = tuple[Coordination, Coordination]


async def read(client: Coordination, prefix: str, from_revision: int, count: int) -> list[Event]:
    """The first `count` events of a watch."""
    events: list[Event] = []
    async with asyncio.timeout(WITHIN_S):
        async with aclosing(client.watch(prefix, from_revision)) as watch:
            async for event in watch:
                events.append(event)
                if len(events) == count:
                    break
    return events


class KeyContract:
    """The suite for keys; an adapter's test class inherits it unchanged.

    A subclass has a fixture `coordination`, two clients of one backend without keys, and overrides
    `forget_history`. `many`, a multiple of 50, is more changes than the backend tells at once.
    """

    many: ClassVar[int] = 1100

    async def forget_history(self, client: Coordination) -> None:
        """Have the backend forget all changes up to now but the latest state."""
        raise NotImplementedError

    async def test_a_key_is_created_once(self, coordination: Pair) -> None:
        mine, theirs = coordination
        revision = await mine.create("k", b"1")
        assert revision is not None
        assert await theirs.create("k", b"2") is None
        entry = await theirs.get("k")
        assert entry is not None
        assert (entry.key, entry.value, entry.revision) == ("k", b"1", revision)

    async def test_an_absent_key_is_none(self, coordination: Pair) -> None:
        mine, _ = coordination
        assert await mine.get("k") is None
        assert not await mine.delete("k")

    async def test_values_and_keys_are_kept_as_they_are(self, coordination: Pair) -> None:
        mine, theirs = coordination
        for key, value in {"a/b": b"", "../a %00\n": b"\x00\xff", "名": b"x" * MAX_VALUE_BYTES}.items():
            await mine.put(key, value)
            entry = await theirs.get(key)
            assert entry is not None
            assert (entry.key, entry.value) == (key, value)

    async def test_revisions_rise_over_all_keys(self, coordination: Pair) -> None:
        mine, theirs = coordination
        revisions = [await mine.put("a", b"1"), await theirs.put("b", b"1"), await mine.put("a", b"2")]
        assert await mine.delete("b")
        revisions.append(await mine.create("b", b"2"))
        assert all(revision is not None for revision in revisions)
        assert cast("list[int]", revisions) == sorted(set(cast("list[int]", revisions)))

    async def test_a_put_with_a_revision_changes_only_that(self, coordination: Pair) -> None:
        mine, theirs = coordination
        first = await mine.put("k", b"1")
        assert first is not None
        second = await theirs.put("k", b"2", if_revision=first)
        assert second is not None
        assert await mine.put("k", b"3", if_revision=first) is None
        assert await mine.put("absent", b"1", if_revision=second) is None
        entry = await mine.get("k")
        assert entry is not None
        assert (entry.value, entry.revision) == (b"2", second)
        assert await mine.get("absent") is None

    async def test_a_delete_with_a_revision_removes_only_that(self, coordination: Pair) -> None:
        mine, theirs = coordination
        first = await mine.put("k", b"1")
        second = await mine.put("k", b"2")
        assert not await theirs.delete("k", if_revision=first)
        assert await theirs.delete("k", if_revision=second)
        assert await mine.get("k") is None
        assert not await theirs.delete("k", if_revision=second)
        third = await mine.create("k", b"3")
        assert not await mine.delete("k", if_revision=second)
        assert await mine.delete("k", if_revision=third)

    async def test_one_of_many_wins_a_race(self, coordination: Pair) -> None:
        created = await asyncio.gather(
            *(client.create("k", b"%d" % i) for i in range(5) for client in coordination)
        )
        won = [revision for revision in created if revision is not None]
        assert len(won) == 1
        put = await asyncio.gather(
            *(client.put("k", b"%d" % i, if_revision=won[0]) for i in range(5) for client in coordination)
        )
        assert sum(revision is not None for revision in put) == 1

    async def test_a_listing_has_the_prefix_in_order(self, coordination: Pair) -> None:
        mine, theirs = coordination
        for key in ("b/2", "b/10", "a", "b", "c/1", "b/名", "b0"):
            await mine.put(key, key.encode())
        latest = await mine.put("b/1", b"new")
        listing = await theirs.list("b/")
        assert [entry.key for entry in listing.entries] == ["b/1", "b/10", "b/2", "b/名"]
        assert listing.entries[0].value == b"new"
        assert listing.entries[0].revision == latest == listing.revision
        assert len((await theirs.list("")).entries) == 8
        assert (await theirs.list("nothing")).entries == ()

    async def test_keys_and_lease_names_are_apart(self, coordination: Pair) -> None:
        mine, theirs = coordination
        assert await mine.acquire("same", 60.0, "host") is not None
        assert await theirs.get("same") is None
        assert await theirs.create("same", b"1") is not None
        await theirs.delete("same")
        assert await theirs.acquire("same", 60.0, "host") is None
        assert (await theirs.list("")).entries == ()

    async def test_a_watch_tells_every_change_in_order(self, coordination: Pair) -> None:
        mine, theirs = coordination
        start = (await mine.list("")).revision + 1
        await mine.put("other", b"before")
        first = await mine.put("w/a", b"1")
        second = await theirs.put("w/b", b"2")
        await mine.put("wide", b"not below")
        third = await mine.put("w/a", b"3")
        await theirs.delete("w/b")
        fifth = await theirs.create("w/b", b"4")
        events = await read(theirs, "w/", start, 5)
        assert [(event.key, event.value) for event in events] == [
            ("w/a", b"1"),
            ("w/b", b"2"),
            ("w/a", b"3"),
            ("w/b", None),
            ("w/b", b"4"),
        ]
        revisions = [event.revision for event in events]
        assert revisions == sorted(set(revisions))
        assert [revisions[0], revisions[1], revisions[2], revisions[4]] == [first, second, third, fifth]

    async def test_a_watch_goes_on_from_where_another_ended(self, coordination: Pair) -> None:
        mine, theirs = coordination
        start = (await mine.list("w/")).revision + 1
        for i in range(6):
            await mine.put("w/k", b"%d" % i)
        events = await read(theirs, "w/", start, 3)
        events += await read(mine, "w/", events[-1].revision + 1, 3)
        assert [event.value for event in events] == [b"%d" % i for i in range(6)]

    async def test_a_watch_tells_later_changes_as_they_come(self, coordination: Pair) -> None:
        mine, theirs = coordination
        start = (await mine.list("")).revision + 1
        watching = [asyncio.create_task(read(client, "w/", start, 20)) for client in (mine, mine, theirs)]
        for i in range(20):
            await (mine, theirs)[i % 2].put(f"w/{i}", b"%d" % i)
            await asyncio.sleep(0.01)
        for events in await asyncio.gather(*watching):
            assert [event.value for event in events] == [b"%d" % i for i in range(20)]

    async def test_a_watch_tells_more_than_fits_into_one_answer(self, coordination: Pair) -> None:
        mine, theirs = coordination
        start = (await mine.list("")).revision + 1
        for i in range(0, self.many, 50):
            await asyncio.gather(*(mine.put(f"w/{i + j}", b"%d" % (i + j)) for j in range(50)))
        events = await read(theirs, "w/", start, self.many)
        assert sorted(int(event.value or b"") for event in events) == list(range(self.many))
        assert len({event.revision for event in events}) == self.many

    async def test_a_forgotten_change_is_told_not_skipped(self, coordination: Pair) -> None:
        mine, theirs = coordination
        early = await mine.put("w/a", b"1")
        assert early is not None
        await mine.put("w/a", b"2")
        await self.forget_history(mine)
        with pytest.raises(HistoryLostError, match=str(early)) as caught:
            await read(theirs, "w/", early, 1)
        assert not caught.value.retryable
        listing = await theirs.list("w/")
        assert [entry.value for entry in listing.entries] == [b"2"]
        await mine.put("w/a", b"3")
        assert (await read(theirs, "w/", listing.revision + 1, 1))[0].value == b"3"

    async def test_a_revision_that_never_was_is_told(self, coordination: Pair) -> None:
        mine, _ = coordination
        latest = await mine.put("k", b"1")
        assert latest is not None
        with pytest.raises(HistoryLostError):
            await read(mine, "", latest + 1000, 1)

    async def test_a_watch_ends_when_its_client_is_closed(self, coordination: Pair) -> None:
        mine, _ = coordination
        start = (await mine.list("")).revision + 1
        watching = asyncio.create_task(read(mine, "w/", start, 1))
        await asyncio.sleep(0.3)
        await mine.close()
        with pytest.raises(ClosedError):
            await watching

    async def test_a_watch_can_be_left(self, coordination: Pair) -> None:
        mine, _ = coordination
        start = (await mine.list("")).revision + 1
        watching = asyncio.create_task(read(mine, "w/", start, 1))
        await asyncio.sleep(0.3)
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
        await mine.put("w/a", b"1")
        assert len(await read(mine, "w/", start, 1)) == 1

    async def test_keys_that_make_no_sense_are_refused(self, coordination: Pair) -> None:
        mine, _ = coordination
        senseless = [
            mine.create("", b""),
            mine.create("k", b"x" * (MAX_VALUE_BYTES + 1)),
            mine.get(""),
            mine.put("", b""),
            mine.put("k", b"", if_revision=0),
            mine.put("k", b"x" * (MAX_VALUE_BYTES + 1)),
            mine.delete(""),
            mine.delete("k", if_revision=-1),
        ]
        for call in senseless:
            with pytest.raises(ValueError, match=r"key|value|if_revision"):
                await call
        with pytest.raises(ValueError, match="from_revision"):
            await read(mine, "", 0, 1)
        assert (await mine.list("")).entries == ()
