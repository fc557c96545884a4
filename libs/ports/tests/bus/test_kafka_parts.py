"""The parts of the Kafka adapter that need no Kafka: partitions of keys, origins in headers, polls cut to a budget."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.partitioner import murmur2 as drivers_murmur2
from hypothesis import given
from hypothesis import strategies as st

from millrace_ports.bus import Origin, Partition
from millrace_ports.bus.kafka.fetched import Fetched, Place
from millrace_ports.bus.kafka.origin import HEADER, decode_origin, encode_origin
from millrace_ports.bus.kafka.partitioner import lanes_of, murmur2

ORIGIN = Origin("door-0a", "2026-03-14", 12, 3, 1_773_446_400_000)


def hashed(key: bytes) -> int:
    """The hash of one key, unsigned."""
    return int(murmur2(np.frombuffer(key, np.uint8)[None, :])[0])


@given(st.binary(min_size=1, max_size=40))
def test_a_key_is_hashed_as_other_clients_do(key: bytes) -> None:
    assert hashed(key) == drivers_murmur2(key)


@pytest.mark.parametrize(
    ("key", "signed"),
    # Of the tests of Kafka's own Java client.
    [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536)],
)
def test_a_key_is_hashed_as_kafka_itself_does(key: bytes, signed: int) -> None:
    assert hashed(key) == signed % 2**32


@given(st.lists(st.none() | st.binary(max_size=24), max_size=40), st.sampled_from([1, 2, 4, 8, 16]))
def test_records_go_to_the_lane_of_their_key_in_order(keys: list[bytes | None], partitions: int) -> None:
    lanes = lanes_of(keys, partitions, keyless=partitions - 1)
    choose, numbers = DefaultPartitioner(), list(range(partitions))
    expected: dict[int, list[int]] = {}
    for place, key in enumerate(keys):
        number = partitions - 1 if key is None else choose(key, numbers, numbers)
        expected.setdefault(number, []).append(place)
    assert lanes == expected


@given(
    st.builds(
        Origin,
        st.from_regex(r"[A-Za-z0-9._-]{1,40}", fullmatch=True),
        st.dates().map(str) | st.dates().map(lambda day: f"{day}#7"),
        *[st.integers(0, 2**61)] * 3,
    )
)
def test_an_origin_survives_its_header(origin: Origin) -> None:
    assert decode_origin([("other", b""), (HEADER, encode_origin(origin))]) == origin


@pytest.mark.parametrize("door", ["", "a/b", "tür", "a b", "a\n"])
def test_a_door_that_has_no_place_in_a_header_is_refused(door: str) -> None:
    with pytest.raises(ValueError, match="door"):
        encode_origin(Origin(door, "2026-03-14", 1, 0, 0))


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"door-0a/2026-03-14/12/3",
        b"door-0a/2026-03-14/12/3/4/5",
        b"/2026-03-14/12/3/4",
        b"door-0a/20260314/12/3/4",
        b"door-0a/2026-03-14#/12/3/4",
        b"door-0a/2026-03-14/-1/3/4",
        b"door-0a/2026-03-14/1_0/3/4",
        b"door-0a/2026-03-14/ 1/3/4",
        b"door-0a/2026-03-14//3/4",
        b"door-0a/2026-03-14/1/3/99999999999999999999",
        b"door-0a/2026-03-14/1/3/" + b"9" * 5000,
        b"d\xfcr/2026-03-14/12/3/4",
        "door-0a/2026-03-14/١/3/4".encode(),
    ],
)
def test_a_malformed_origin_is_none(value: bytes | None) -> None:
    assert decode_origin([(HEADER, value)]) is None


@dataclass
class Fetch:
    """What the driver gives for one record."""

    offset: int
    value: bytes | None
    timestamp: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()


def place(number: int = 0, position: int = 0) -> Place:
    return Place(Partition("t", f"id/{number}"), position, position, position)


def test_numbers_begin_at_one_and_chunks_follow_each_other_over_gaps() -> None:
    fetched, there = Fetched(), place(position=2)
    fetched.add(there, [Fetch(2, b"a"), Fetch(5, b"b")])
    fetched.add(there, [Fetch(9, b"c")])
    chunks = fetched.take(100, 100)
    assert [(c.start, c.end, list(c.offsets)) for c in chunks] == [(2, 6, [3, 6]), (6, 10, [10])]
    assert there.read_to == 10


def test_times_never_fall() -> None:
    fetched, there = Fetched(), place()
    fetched.add(there, [Fetch(0, b"a", 7), Fetch(1, b"b", 5), Fetch(2, b"c", 8)])
    fetched.add(there, [Fetch(3, b"d", -1)])
    assert [list(c.received_at_ms) for c in fetched.take(100, 100)] == [[7, 7, 8], [8]]


def test_a_tombstone_is_told_from_a_blank_value() -> None:
    fetched, there = Fetched(), place()
    fetched.add(there, [Fetch(0, b""), Fetch(1, None), Fetch(2, b"x")])
    first, second = fetched.take(1, 100)[0], fetched.take(9, 100)[0]
    assert (list(first.values), first.tombstones) == ([b""], frozenset())
    assert (list(second.values), second.tombstones) == ([b"", b"x"], {2})


def test_origins_are_none_where_no_record_has_one() -> None:
    fetched, there = Fetched(), place()
    header = (HEADER, encode_origin(ORIGIN))
    fetched.add(there, [Fetch(0, b"a"), Fetch(1, b"b", headers=((HEADER, b"nonsense"),))])
    fetched.add(there, [Fetch(2, b"c"), Fetch(3, b"d", headers=(header,))])
    without, having = fetched.take(9, 99)
    assert without.origins is None
    assert having.origins == [None, ORIGIN]


def test_what_was_forgotten_is_not_delivered() -> None:
    fetched, one, other = Fetched(), place(1), place(2)
    for there in (one, other, one):
        fetched.add(there, [Fetch(there.fetched, b"x")])
    fetched.forget(one)
    assert [chunk.partition for chunk in fetched.take(9, 99)] == [other.partition]


@given(
    st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=6), max_size=6),
    st.lists(st.tuples(st.integers(1, 8), st.integers(1, 20)), min_size=1, max_size=8),
)
def test_polls_deliver_all_in_order_within_their_budget(
    parts: list[list[int]], budgets: list[tuple[int, int]]
) -> None:
    fetched, there = Fetched(), place()
    for sizes in parts:
        fetched.add(there, [Fetch(there.fetched + at, b"x" * size) for at, size in enumerate(sizes)])
    expected = [size for sizes in parts for size in sizes]
    seen: list[int] = []
    polls = 0
    while len(seen) < len(expected):
        max_records, max_bytes = budgets[polls % len(budgets)]
        chunks = fetched.take(max_records, max_bytes)
        sizes = [len(value) for chunk in chunks for value in chunk.values]
        assert 1 <= len(sizes) <= max_records
        assert sum(sizes) <= max_bytes or len(sizes) == 1
        assert chunks[0].start == len(seen)
        assert all(a.end == b.start for a, b in itertools.pairwise(chunks))
        seen += sizes
        assert chunks[-1].end == len(seen) == there.delivered
        polls += 1
    assert seen == expected
    assert fetched.take(9, 99) == []
