"""Answers over real Delta tables are what a plain filter over the same rows gives."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_testkit.clock import ManualClock
from millrace_testkit.messages_lake import DAY, STORED, MessagesLake, Row, message, ordered, shown
from query_service.search.columns import COLUMNS, NUMBER_FILTERS, SCHEMA
from query_service.search.handle import LakeHandle
from query_service.search.request import Filter, Lookup, Search
from query_service.search.run import Searcher, connect
from query_service.search.shape import json_rows

TODAY = Filter(DAY.date(), DAY.date())
ROOMS = ["1@chatroom", "2@chatroom", ""]
PEOPLE = ["wxid_a", "wxid_b", ""]


def test_the_api_shows_the_columns_of_the_dataset() -> None:
    keys = ("year", "month", "day")
    stored = [(field.name, field.type) for field in STORED if field.name not in keys]
    assert stored == [(field.name, field.type) for field in SCHEMA if field.name not in keys]
    assert SCHEMA.names == STORED.names


def rows_of(searcher: Searcher, search: Search) -> list[Row]:
    return json_rows(searcher.search(search).batches)


def all_of(searcher: Searcher, condition: Filter = TODAY) -> list[Row]:
    return rows_of(searcher, Search(condition, unmask=True))


def matches(row: Row, condition: Filter) -> bool:
    """LAKE-9, written a second time without SQL."""

    def value(name: str) -> Any:
        if name == "sender":
            return row["chatroom_sender"] or row["from_username"]
        return row[name]

    within = condition.start <= row["create_time"].date() <= condition.end
    return within and all(value(name) in values for name, values in condition.any_of.items())


def mixed_rows() -> list[Row]:
    """200 rows over five days and the end of a year, many at the same second, in no order."""
    start = datetime(2025, 12, 29, 23, 59, 58, tzinfo=UTC)
    return [
        message(
            (number * 7919) % 200,
            start + timedelta(seconds=(number * 37 % 90) // 3, days=number % 5),
            chatroom=ROOMS[number % 3],
            from_username=PEOPLE[number % 2],
            chatroom_sender=PEOPLE[number % 3],
            to_username=f"wxid_to{number % 2}",
            guid=f"g{number % 2}",
            msg_type=(1, 3, 49)[number % 3],
            is_chatroom_msg=number % 2,
            notify_type=(1010, 1011)[number % 2],
        )
        for number in range(200)
    ]


@pytest.fixture
def mixed(lake: MessagesLake, searcher: Searcher) -> Searcher:
    rows = mixed_rows()
    for start in range(0, len(rows), 50):
        lake.append(*rows[start : start + 50])
    return searcher


_text_values: dict[str, list[str]] = {
    "chatroom": ROOMS,
    "from_username": PEOPLE[:2],
    "chatroom_sender": PEOPLE,
    "sender": PEOPLE[:2],
    "to_username": ["wxid_to0", "wxid_to1"],
    "guid": ["g0", "g1", "' OR 1=1 --"],
}
_number_values: dict[str, list[int]] = {
    "msg_type": [1, 3, 49, 7],
    "is_chatroom_msg": [0, 1],
    "notify_type": [1010, 1011],
}
_conditions = st.fixed_dictionaries(
    {},
    optional={
        name: st.lists(st.sampled_from(values), max_size=3).map(tuple)
        for name, values in (*_text_values.items(), *_number_values.items())
    },
)
_days = st.dates(date(2025, 12, 28), date(2026, 1, 5))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    days=st.tuples(_days, _days).map(sorted),
    any_of=_conditions,
    columns=st.lists(st.sampled_from(COLUMNS), min_size=1, unique=True).map(tuple),
    offset=st.integers(0, 60),
    limit=st.none() | st.integers(1, 60),
)
def test_every_answer_equals_a_plain_filter(
    mixed: Searcher,
    lake: MessagesLake,
    days: list[date],
    any_of: dict[str, tuple[Any, ...]],
    columns: tuple[str, ...],
    offset: int,
    limit: int | None,
) -> None:
    condition = Filter(days[0], days[1], any_of)
    wanted = [shown(row, columns) for row in ordered(lake.rows) if matches(row, condition)]

    answer = mixed.search(Search(condition, columns, limit, offset, unmask=True))

    assert answer.total == len(wanted)
    assert answer.schema.names == list(columns)
    page = wanted[offset:] if limit is None else wanted[offset : offset + limit]
    assert json_rows(answer.batches) == page
    assert mixed.count(condition).total == len(wanted)


@pytest.mark.parametrize("name", [*_text_values, *_number_values])
def test_each_filter_alone(mixed: Searcher, lake: MessagesLake, name: str) -> None:
    values = (*_text_values.get(name, ()), *_number_values.get(name, ()))
    for value in values:
        condition = Filter(date(2025, 12, 29), date(2026, 1, 4), {name: (value,)})
        wanted = [shown(row) for row in ordered(lake.rows) if matches(row, condition)]
        assert all_of(mixed, condition) == wanted
        assert bool(wanted) == (value not in (7, "' OR 1=1 --"))
    assert (name in NUMBER_FILTERS) == (name in _number_values)


def test_pages_neither_overlap_nor_skip(mixed: Searcher, lake: MessagesLake) -> None:
    condition = Filter(date(2025, 12, 29), date(2026, 1, 4))
    pages = [rows_of(mixed, Search(condition, ("msg_id",), 7, offset)) for offset in range(0, 210, 7)]
    assert [row["msg_id"] for page in pages for row in page] == [r["msg_id"] for r in ordered(lake.rows)]


def test_the_turn_of_the_year_opens_four_days_and_no_others(lake: MessagesLake, searcher: Searcher) -> None:
    days = [datetime(2025, 12, 28, 12, tzinfo=UTC) + timedelta(days=n) for n in range(8)]
    lake.append(*(message(n, day) for n, day in enumerate(days)))
    answer = searcher.search(Search(Filter(date(2025, 12, 30), date(2026, 1, 2)), ("year", "month", "day")))
    assert answer.files_opened == 4
    assert json_rows(answer.batches) == [
        {"year": 2025, "month": 12, "day": 30},
        {"year": 2025, "month": 12, "day": 31},
        {"year": 2026, "month": 1, "day": 1},
        {"year": 2026, "month": 1, "day": 2},
    ]


def test_files_of_other_days_are_not_opened(lake: MessagesLake, searcher: Searcher) -> None:
    for n in range(5):
        lake.append(message(n, DAY + timedelta(days=n)))
    for path in lake.files():
        if "day=15" not in str(path):
            path.write_bytes(b"not parquet at all")
    answer = searcher.search(
        Search(Filter(date(2026, 3, 15), date(2026, 3, 15), {"msg_type": (1,)}), unmask=True)
    )
    assert json_rows(answer.batches) == [shown(lake.rows[1])]
    assert (answer.files_opened, answer.warnings) == (1, ())


def test_the_log_alone_answers_a_count_of_days(lake: MessagesLake, searcher: Searcher) -> None:
    lake.append(*(message(n) for n in range(30)))
    assert (searcher.count(TODAY).total, searcher.count(TODAY).files_opened) == (30, 0)


def test_an_id_opens_only_files_whose_range_holds_it(lake: MessagesLake, searcher: Searcher) -> None:
    for n in range(6):
        lake.append(*(message(n * 100 + k, DAY + timedelta(days=n)) for k in range(10)))
    known, unknown = lake.rows[25]["msg_id"], "no such id"
    answer = searcher.lookup(Lookup(tuple(sorted([known, unknown])), unmask=True))
    assert json_rows(answer.batches) == [shown(lake.rows[25])]
    assert answer.files_opened == 1
    assert json_rows(searcher.lookup(Lookup(())).batches) == []


def test_masked_unless_asked_otherwise(lake: MessagesLake, searcher: Searcher) -> None:
    lake.append(
        message(1, extra_fields='{"mobile":"13905718264","n":18446744073709551617}'),
        message(2, extra_fields='{"n": 1}'),
        message(3),
    )
    masked = [row["extra_fields"] for row in rows_of(searcher, Search(TODAY, ("extra_fields",)))]
    clear = [row["extra_fields"] for row in rows_of(searcher, Search(TODAY, ("extra_fields",), unmask=True))]
    assert masked == ['{"mobile":"139****8264","n":18446744073709551617}', '{"n": 1}', None]
    assert clear == [row["extra_fields"] for row in lake.rows]


def test_no_table_yet_is_no_rows_with_all_columns(searcher: Searcher, handle: LakeHandle) -> None:
    answer = searcher.search(Search(TODAY))
    assert (answer.total, answer.schema.names, list(answer.batches)) == (0, list(COLUMNS), [])
    assert handle.snapshot().version is None


def test_rows_are_seen_a_second_after_their_commit(
    lake: MessagesLake, searcher: Searcher, clock: ManualClock
) -> None:
    assert searcher.count(TODAY).total == 0  # the first commit makes the table
    for number in range(3):
        lake.append(message(number))
        clock.advance(1.0)
        assert searcher.count(TODAY).total == number + 1


def test_a_table_made_anew_is_read_anew(lake: MessagesLake, handle: LakeHandle, searcher: Searcher) -> None:
    for n in range(3):
        lake.append(message(n))
    assert searcher.count(TODAY).total == 3
    lake.table.rename(lake.root / "former")
    lake.append(message(9))
    handle.refresh()
    assert [row["msg_id"] for row in all_of(searcher)] == [message(9)["msg_id"]]


def test_files_compacted_and_vacuumed_since_the_handle_was_read(
    lake: MessagesLake, searcher: Searcher
) -> None:
    for n in range(6):
        lake.append(message(n))
    assert len(all_of(searcher)) == 6
    lake.compact_and_vacuum()
    answer = searcher.search(Search(TODAY, unmask=True))  # the clock stands: the kept handle is used
    assert json_rows(answer.batches) == [shown(row) for row in lake.rows]
    assert (answer.files_opened, answer.warnings) == (1, ())


def test_files_vanishing_while_the_engine_opens_them(
    lake: MessagesLake, handle: LakeHandle, searcher: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the files and DuckDB's open lies a moment in which a vacuum can remove them."""
    for n in range(4):
        lake.append(message(n))
    real_counts = searcher._counts
    calls = []

    def vacuum_then_count(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            lake.compact_and_vacuum()
        return real_counts(*arguments)

    monkeypatch.setattr(searcher, "_counts", vacuum_then_count)
    answer = searcher.search(Search(Filter(DAY.date(), DAY.date(), {"msg_type": (1,)}), unmask=True))
    assert json_rows(answer.batches) == [shown(row) for row in lake.rows]
    assert len(calls) == 2


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _garbage_of_the_same_size(path: Path) -> None:
    path.write_bytes(b"\xa5" * path.stat().st_size)


def _broken_pages(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8:400] = b"\xa5" * 392
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [_emptied, _cut, _garbage_of_the_same_size, _broken_pages, Path.unlink])
def test_a_broken_file_is_left_out_and_named(
    lake: MessagesLake, searcher: Searcher, damage: Callable[[Path], object]
) -> None:
    lake.append(message(1))
    broken = lake.files()[0]
    lake.append(message(2))
    lake.append(message(3))
    damage(broken)
    for _ in range(2):
        answer = searcher.search(Search(TODAY, unmask=True))
        assert json_rows(answer.batches) == [shown(row) for row in lake.rows[1:]]
        assert answer.total == 2
        assert [broken.name in warning for warning in answer.warnings] == [True]
    assert searcher.lookup(Lookup((lake.rows[0]["msg_id"],))).warnings


def test_a_mended_file_is_used_again(lake: MessagesLake, searcher: Searcher) -> None:
    lake.append(message(1))
    (path,) = lake.files()
    content = path.read_bytes()
    _broken_pages(path)
    assert all_of(searcher) == []
    path.unlink()
    path.write_bytes(content)
    assert all_of(searcher) == [shown(lake.rows[0])]


def test_a_log_that_cannot_be_read_is_unavailable_and_heals(
    lake: MessagesLake, searcher: Searcher, clock: ManualClock
) -> None:
    lake.append(message(1))
    log_file = lake.table / "_delta_log" / f"{0:020}.json"
    content = log_file.read_bytes()
    log_file.write_bytes(b"{ torn")
    with pytest.raises(ServiceError) as refused:
        searcher.count(TODAY)
    assert refused.value.code is ErrorCode.UNAVAILABLE
    log_file.write_bytes(content)
    assert searcher.count(TODAY).total == 1


def test_too_much_for_the_memory_is_said_so(lake: MessagesLake, handle: LakeHandle) -> None:
    lake.append(*(message(n, content=f"{n}" * 10_000) for n in range(2_000)))
    with duckdb.connect(config={"threads": 1, "memory_limit": "1MB", "temp_directory": ""}) as tiny:
        with pytest.raises(ServiceError, match="memory") as refused:
            list(Searcher(handle, tiny).search(Search(TODAY)).batches)
        assert refused.value.code is ErrorCode.UNAVAILABLE


def test_long_answers_are_parts_in_order(
    lake: MessagesLake, searcher: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("query_service.search.run.PART_ROWS", 10)
    for n in range(8):
        rows = [message(n * 20 + k, DAY + timedelta(days=n, seconds=(k * 7) % 20)) for k in range(20)]
        lake.append(*rows)
    condition = Filter(DAY.date(), (DAY + timedelta(days=7)).date())
    assert all_of(searcher, condition) == [shown(row) for row in ordered(lake.rows)]


def test_a_table_without_rows_is_no_rows_with_all_columns(lake: MessagesLake, searcher: Searcher) -> None:
    DeltaTable.create(str(lake.table), STORED, partition_by=["year", "month", "day"])
    assert searcher.search(Search(TODAY)).schema.names == list(COLUMNS)
    assert (searcher.count(TODAY).total, all_of(searcher)) == (0, [])
    assert json_rows(searcher.lookup(Lookup(("1",))).batches) == []


def test_a_day_that_is_archived_while_the_logs_are_asked(
    lake: MessagesLake, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both commits of the move come between the look at the lake and that at the archive: no row is lost or twice."""
    rows = [message(n) for n in range(5)]
    lake.append(*rows)
    archive = MessagesLake(tmp_path / "archive")
    handle = LakeHandle(lake.table, clock, archive=archive.table)
    assert handle._archive is not None
    asked = handle._archive.ask
    moves = iter([True])

    def moved_then_asked() -> Any:
        if next(moves, False):
            archive.append(*rows)
            DeltaTable(str(lake.table)).delete()
        return asked()

    monkeypatch.setattr(handle._archive, "ask", moved_then_asked)
    with connect(threads=2, memory_limit="256MB", temp_directory=tmp_path / "scratch") as connection:
        searcher = Searcher(handle, connection)
        assert all_of(searcher) == [shown(row) for row in rows]
        assert handle.snapshot().files.in_both
        clock.advance(1.0)
        assert all_of(searcher) == [shown(row) for row in rows]
        assert not handle.snapshot().files.in_both
        assert searcher.count(TODAY).total == 5
