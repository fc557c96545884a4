"""An origin as one number: in the order of origins, whatever their day, epoch and line."""

import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_service.land import marks

days = st.dates(datetime.date(1970, 1, 1), datetime.date(2149, 6, 6)).map(str)
origins = st.tuples(
    st.one_of(days, st.just("2026-03-14")),
    st.integers(0, marks.LAST_EPOCH),
    st.one_of(st.integers(1, 50), st.integers(1, marks.LAST_LINE)),
    st.integers(0, marks.LAST_ELEMENT),
)


def name(day: str, epoch: int) -> str:
    return f"{day}#{epoch}" if epoch else day


@given(origins, origins)
def test_marks_sort_as_origins_do(one: tuple[str, int, int, int], other: tuple[str, int, int, int]) -> None:
    mark, another = (marks.packed(name(*origin[:2]), *origin[2:]) for origin in (one, other))
    assert (mark < another) == (one < other)
    assert 0 < mark < 2**63
    assert marks.unpacked(mark) == (name(*one[:2]), *one[2:])


@given(st.lists(origins, min_size=1, max_size=20))
def test_columns_give_the_same(some: list[tuple[str, int, int, int]]) -> None:
    highs = np.array([marks.day_of(name(day, epoch)).high for day, epoch, _, _ in some])
    lines, elements = (np.array([origin[place] for origin in some]) for place in (2, 3))
    assert marks.packed_all(highs, lines, elements).tolist() == [
        marks.packed(name(day, epoch), line, element) for day, epoch, line, element in some
    ]


def test_what_is_beyond_counts_as_the_last_or_is_refused() -> None:
    assert marks.unpacked(marks.packed("2026-03-14#99", 7, 5_000_000)) == ("2026-03-14#15", 7, 1023)
    for day, line, element in (
        ("2149-06-07", 1, 0),
        ("1969-12-31", 1, 0),
        ("2026-02-29", 1, 0),
        ("2026-3-1", 1, 0),
        ("20260314", 1, 0),
        ("2026-03-14#", 1, 0),
        ("2026-03-14", 0, 0),
        ("2026-03-14", marks.LAST_LINE + 1, 0),
        ("2026-03-14", 1, -1),
    ):
        with pytest.raises(marks.OriginRangeError):
            marks.packed(day, line, element)
