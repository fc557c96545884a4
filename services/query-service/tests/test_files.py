"""Pruning and cutting into parts, on statistics alone."""

from datetime import date

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from query_service.search.files import Files, from_add_actions, known_counts, of_days, of_ids, ordered_parts

DAY_US = 86_400_000_000


def files(*spans: tuple[int, int]) -> Files:
    """Files of create_time spans in microseconds, each in the partition of its first."""
    lo = np.array([low for low, _ in spans], dtype=np.int64)
    hi = np.array([high for _, high in spans], dtype=np.int64)
    one = np.ones(len(spans), dtype=np.int64)
    none = (None,) * len(spans)
    return Files(tuple(f"f{i}" for i in range(len(spans))), lo // DAY_US, one, one, lo, hi, none, none)


def test_only_files_of_the_asked_days_are_left() -> None:
    days = files(*((day * DAY_US, day * DAY_US + 5) for day in range(10)))
    left = of_days(days, date(1970, 1, 3), date(1970, 1, 5))
    assert left.paths == ("f2", "f3", "f4")


def test_files_without_statistics_are_never_left_out_of_their_day() -> None:
    actions = pa.table(
        {
            "path": ["a", "b"],
            "size_bytes": [1, 1],
            "partition.year": ["1970", "1970"],
            "partition.month": ["01", "01"],
            "partition.day": ["02", "03"],
        }
    )
    bare = from_add_actions(actions)
    assert of_days(bare, date(1970, 1, 2), date(1970, 1, 2)).paths == ("a",)
    assert of_ids(bare, ["x"]).paths == ("a", "b")
    assert known_counts(bare, date(1970, 1, 2), date(1970, 1, 3)) is None
    assert bare.newest_us is None


def test_a_file_that_reaches_beyond_the_days_has_no_known_count() -> None:
    inside, beyond = files((0, DAY_US - 1)), files((0, DAY_US))
    assert known_counts(inside, date(1970, 1, 1), date(1970, 1, 1)) is not None
    assert known_counts(beyond, date(1970, 1, 1), date(1970, 1, 1)) is None


def test_ids_choose_files_by_their_range_as_text() -> None:
    three = files((0, 1), (0, 1), (0, 1))
    ranged = Files(
        three.paths,
        three.day,
        three.size,
        three.rows,
        three.lo_us,
        three.hi_us,
        ("10", "20", None),
        ("19", "3", None),
    )
    assert of_ids(ranged, ["15"]).paths == ("f0", "f2")
    assert of_ids(ranged, ["2999"]).paths == ("f1", "f2")
    assert of_ids(ranged, ["0", "9"]).paths == ("f2",)


@given(
    st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=8), max_size=12),
    st.integers(0, 40),
    st.none() | st.integers(1, 40),
    st.integers(1, 20),
)
def test_parts_one_after_the_other_are_the_sorted_whole(
    times: list[list[int]], offset: int, limit: int | None, part_rows: int
) -> None:
    many = files(*((min(t), max(t)) for t in times))
    counts = np.array([len(t) for t in times], dtype=np.int64)
    whole = sorted((at, number) for number, t in enumerate(times) for at in t)
    wanted = whole[offset:] if limit is None else whole[offset : offset + limit]

    got: list[tuple[int, int]] = []
    for part in ordered_parts(many, counts, offset, limit, part_rows):
        rows = sorted((at, int(number)) for number in part.files for at in times[number])
        got += rows[part.offset : part.offset + part.limit]
    assert got == wanted


def test_files_that_cannot_touch_the_page_are_in_no_part() -> None:
    days = files(*((day * DAY_US, day * DAY_US + 5) for day in range(100)))
    counts = np.full(100, 10, dtype=np.int64)
    parts = ordered_parts(days, counts, offset=505, limit=10, part_rows=65_536)
    assert [list(part.files) for part in parts] == [[50, 51]]
    assert (parts[0].offset, parts[0].limit) == (5, 10)
