"""Ranges: what a data centre owns, what a process holds (ID-8, ID-18)."""

from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from id_service.segment.ranges import Held, IdRange, datacenter_of, datacenter_range


def test_data_centres_own_the_blocks_of_the_sheet() -> None:
    assert datacenter_range(0) == IdRange(1_000_000_000_000, 1_999_999_999_999)
    assert datacenter_range(7) == IdRange(8_000_000_000_000, 8_999_999_999_999)
    for below, above in pairwise(datacenter_range(d) for d in range(8)):
        assert above.first == below.last + 1


@pytest.mark.parametrize("datacenter_id", [-1, 8])
def test_there_are_eight_data_centres(datacenter_id: int) -> None:
    with pytest.raises(ValueError, match=r"0\.\.7"):
        datacenter_range(datacenter_id)


@given(st.integers(0, 7), st.data())
def test_every_number_of_a_block_names_its_data_centre(datacenter_id: int, data: st.DataObject) -> None:
    owned = datacenter_range(datacenter_id)
    assert datacenter_of(data.draw(st.integers(owned.first, owned.last))) == datacenter_id


@pytest.mark.parametrize("number", [1, 999_999_999_999, 9_000_000_000_000])
def test_other_numbers_name_none(number: int) -> None:
    assert datacenter_of(number) is None


@given(
    gaps=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 30)), min_size=1, max_size=20),
    sizes=st.lists(st.integers(1, 60), max_size=30),
)
def test_held_ids_leave_once_lowest_first_and_never_in_part(
    gaps: list[tuple[int, int]], sizes: list[int]
) -> None:
    held, allocated, at = Held(), [], 1
    for gap, length in gaps:
        at += gap
        held.add(IdRange(at, at + length - 1))
        allocated += range(at, at + length)
        at += length

    taken: list[int] = []
    for size in sizes:
        before = len(held)
        if size > before:
            with pytest.raises(ValueError, match="asked"):
                held.take(size)
            assert len(held) == before
        else:
            ids = list(chain.from_iterable(held.take(size)))
            assert len(ids) == size
            taken += ids

    assert taken == allocated[: len(taken)]
    assert len(held) == len(allocated) - len(taken)


def test_a_range_below_what_is_held_is_refused() -> None:
    held = Held()
    held.add(IdRange(10, 20))
    with pytest.raises(ValueError, match="above"):
        held.add(IdRange(20, 30))


@pytest.mark.parametrize(("first", "last"), [(0, 5), (6, 5)])
def test_a_range_is_not_empty_and_begins_above_zero(first: int, last: int) -> None:
    with pytest.raises(ValueError, match="no range"):
        IdRange(first, last)
