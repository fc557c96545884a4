"""The key store grows in any way to the same keys: batch by batch, many at once, few into many."""

import pathlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_service.land.index import store
from ingest_service.land.index.keys import Keys, keys_of
from ingest_service.land.index.store import Days, KeyStore

IDS = st.one_of(st.integers(0, 2_000).map(str), st.text("ab", min_size=1, max_size=6))


def batch(ids: list[str], day: int) -> tuple[Keys, Days]:
    return keys_of(pa.array(ids, pa.string())), np.full(len(ids), day, np.int32)


@given(st.lists(st.lists(IDS, max_size=40), max_size=8), st.integers(1, 60))
def test_many_batches_at_once_are_the_batches_one_by_one(batches: list[list[str]], at_once: int) -> None:
    one_by_one, together = KeyStore(), KeyStore()
    days = [batch(ids, 20_000 + number) for number, ids in enumerate(batches)]
    for keys, day in days:
        one_by_one.add(keys, day)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_ADDED_AT_ONCE", at_once)
        together.add_all(iter(days))
    assert len(together) == len(one_by_one)
    keys, _ = batch([*map(str, range(2_001)), "a", "ab", "bbb"], 0)
    assert together.contains(keys).tolist() == one_by_one.contains(keys).tolist()
    for number in np.flatnonzero(~keys.exact):
        bucket, value = int(keys.buckets[number]), int(keys.values[number])
        assert together.candidate_days(bucket, value) == one_by_one.candidate_days(bucket, value)


def test_a_few_keys_enter_among_many() -> None:
    grown = KeyStore()
    grown.add(*batch([str(number) for number in range(0, 100_000, 2)], 0))
    grown.add(*batch(["3", "4", "99999", "200000"], 0))
    probe, _ = batch(["0", "2", "3", "4", "5", "99998", "99999", "200000", "200001"], 0)
    assert grown.contains(probe).tolist() == [True, True, True, True, False, True, True, True, False]


def test_two_processes_that_save_to_one_place_each_go_on_with_their_own_keys(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several writers on one host: the one's snapshot is replaced before it has looked at it again."""
    one, two = KeyStore(), KeyStore()
    one.add(*batch([*map(str, range(1000)), "abc"], 1))
    two.add(*batch(["5000", "abcd"], 2))
    saved = pathlib.Path.replace

    def overtaken(self: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
        monkeypatch.undo()
        result = saved(self, target)
        two.save(target, "table-1", 7)
        return result

    monkeypatch.setattr(pathlib.Path, "replace", overtaken)
    one.save(tmp_path / "index", "table-1", 8)
    keys, _ = batch(["0", "999", "5000", "abc", "abcd"], 0)
    assert one.contains(keys).tolist() == [True, True, False, True, False]
    assert two.contains(keys).tolist() == [False, False, True, False, True]
    loaded, version = KeyStore.load(tmp_path / "index", "table-1")
    assert (version, loaded.contains(keys).tolist()) == (7, two.contains(keys).tolist())
