"""The fast way and the exact way give equal rows; keys are what Kafka and exactness need."""

import json
import pathlib
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_service.land.index.keys import keys_of
from ingest_service.land.index.store import KeyStore, SnapshotUnusableError
from ingest_service.land.kinds import Message
from ingest_service.land.messages import decode_ordinary, exact_row
from ingest_service.land.refusal import Refused

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.one_of(
    texts,
    st.integers(-(2**70), 2**70),
    st.none(),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["1", "0", "-1", "49", ""]),
    st.lists(st.integers(), max_size=2),
)
ordinary = st.fixed_dictionaries(
    {
        "from_username": st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5),
        "to_username": st.just("b"),
        "msg_id": st.text("0123456789a", min_size=1, max_size=20),
        "create_time": st.integers(1, 2147483646),
        "is_chatroom_msg": st.integers(0, 1),
    },
    optional={
        "chatroom": texts,
        "chatroom_sender": texts,
        "content": texts,
        "desc": texts,
        "source": texts,
        "msg_type": st.integers(0, 2**31 - 1),
    },
)
odd = st.dictionaries(
    st.sampled_from(
        ["msg_id", "from_username", "create_time", "is_chatroom_msg", "msg_type", "source", "content", "new"]
    ),
    values,
    max_size=4,
)


@given(ordinary, odd)
def test_both_ways_agree(data: dict[str, Any], changes: dict[str, Any]) -> None:
    """Whatever the fast way accepts, the exact way accepts with the same row."""
    payload = {"guid": "g", "notify_type": 1010, "data": data | changes}
    line = json.dumps(payload).encode()
    try:
        exact = exact_row(Message("g", 1010, msgspec.json.decode(line)["data"], {}))
    except Refused:
        with pytest.raises(msgspec.ValidationError):
            decode_ordinary(line)
        return
    try:
        fast = decode_ordinary(line)
    except msgspec.ValidationError:
        return
    assert (fast, None) == exact


def test_ordinary_payloads_take_the_fast_way() -> None:
    line = json.dumps(
        {
            "guid": "g",
            "notify_type": 1010,
            "data": {
                "from_username": "a",
                "to_username": "b",
                "msg_id": "1",
                "create_time": 1,
                "is_chatroom_msg": 0,
            },
        }
    ).encode()
    assert decode_ordinary(line).data.content == ""


@pytest.mark.parametrize("field", ["msg_id", "content", "source"])
def test_a_lone_surrogate_inside_an_object_is_replaced(field: str) -> None:
    """Stored as text, such a value must not stop the writer."""
    data = {"from_username": "a", "to_username": "b", "create_time": 1, "is_chatroom_msg": 0, "msg_id": "1"}
    row, _ = exact_row(Message("g", 1010, data | {field: {"k": ["\ud800"]}}, {}))
    assert getattr(row.data, field) == '{"k":["\ufffd"]}'


@given(st.lists(st.one_of(st.integers(0, 2**66).map(str), st.text("0123456789a", max_size=21)), max_size=30))
def test_exact_keys_are_canonical_decimals_below_2_to_64(ids: list[str]) -> None:
    keys = keys_of(pa.array(ids, pa.string()))
    for text, value, exact in zip(ids, keys.values, keys.exact, strict=True):
        canonical = text.isdigit() and str(int(text)) == text and int(text) < 2**64
        assert exact == canonical
        if canonical:
            assert int(value) == int(text)


def test_keys_of_a_slice() -> None:
    array = pa.array(["1", "22", "333", "4444"]).slice(1, 2)
    assert keys_of(array).values.tolist() == [22, 333]


@given(
    st.lists(st.lists(st.integers(0, 10_000).map(str), max_size=40), max_size=6),
    st.lists(st.integers(0, 10_000).map(str), max_size=40),
)
def test_the_store_is_a_set(batches: list[list[str]], probe: list[str]) -> None:
    store, model = KeyStore(), set()
    for batch in batches:
        store.add(keys_of(pa.array(batch, pa.string())), np.zeros(len(batch), np.int32))
        model.update(batch)
    assert store.contains(keys_of(pa.array(probe, pa.string()))).tolist() == [text in model for text in probe]


def test_a_snapshot_holds_what_was_saved(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "index"
    store = KeyStore()
    ids = pa.array([*map(str, range(5000)), "abc", "007"], pa.string())
    store.add(keys_of(ids), np.full(len(ids), 20_000, np.int32))
    store.save(file, "table-1", 7)
    loaded, version = KeyStore.load(file, "table-1")
    assert (version, len(loaded)) == (7, 5002)
    assert loaded.contains(keys_of(pa.array(["17", "abc", "007", "5000", "abd"]))).tolist() == [
        True,
        True,
        True,
        False,
        False,
    ]
    key = keys_of(pa.array(["abc"]))
    assert loaded.candidate_days(int(key.buckets[0]), int(key.values[0])) == {20_000}


def test_a_damaged_or_foreign_snapshot_is_not_used(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "index"
    store = KeyStore()
    store.add(keys_of(pa.array(["1", "2"])), np.zeros(2, np.int32))
    store.save(file, "table-1", 7)
    with pytest.raises(SnapshotUnusableError):
        KeyStore.load(file, "table-2")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(SnapshotUnusableError, match="bytes"):
        KeyStore.load(file, "table-1")
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(SnapshotUnusableError, match="checksum"):
        KeyStore.load(file, "table-1")
    with pytest.raises(SnapshotUnusableError):
        KeyStore.load(tmp_path / "none", "table-1")
