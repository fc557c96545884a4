"""How answers in SQL and counts over time look, and when a statement ends."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from millrace.cli.columns_chart import chart
from millrace.cli.prompt import ends
from millrace.cli.result_table import plan_lines, records, table
from millrace.sql import SqlResult

NOON = datetime(2026, 3, 5, 12)  # noqa: DTZ001  labels of a drawing


def result(columns: tuple[str, ...], *rows: list[object]) -> SqlResult:
    return SqlResult(columns, ("VARCHAR",) * len(columns), list(rows), truncated=False, elapsed_ms=1)


def printed(shown: object, width: int) -> list[str]:
    console = Console(width=width, force_terminal=False)
    with console.capture() as captured:
        console.print(shown)
    return captured.get().splitlines()


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        ("SELECT 1;", True),
        ("SELECT 1; -- done\n /* really */ ", True),
        ("SELECT 1", False),
        ("SELECT ';", False),
        ("SELECT ';'", False),
        ("SELECT 'it''s;';", True),
        ('SELECT ";"', False),
        ("SELECT 1 -- ;", False),
        ("SELECT 1 /* ; ", False),
        ("SELECT 1; SELECT 2", False),
        ("", False),
        (";", True),
    ],
)
def test_a_statement_ends_with_its_semicolon(text: str, ended: bool) -> None:
    assert ends(text) is ended


def test_a_table_fits_the_terminal_or_becomes_records() -> None:
    wide = result(("id", "text"), ["1", "word " * 40], ["22", None])
    shown = table(wide, 40)
    assert shown is not None
    lines = printed(shown, 40)
    assert max(map(len, lines)) <= 40
    assert any("…" in line for line in lines)
    assert any("NULL" in line for line in lines)
    many = result(tuple(f"column_{n}" for n in range(20)), ["value"] * 20)
    assert table(many, 80) is None
    lines = printed(records(many), 80)
    assert lines[0] == "-[ row 1 ]-"
    assert lines[3].split() == ["column_2", "value"]


def test_markup_in_values_is_only_text() -> None:
    shown = table(result(("a",), ["[bold]x[/bold]"]), 80)
    assert any("[bold]x[/bold]" in line for line in printed(shown, 80))


def test_a_plan_is_shown_as_it_is() -> None:
    assert plan_lines(result(("explain_key", "explain_value"), ["physical_plan", "a\nb\n"])) == "a\nb"
    assert plan_lines(result(("a", "b"), ["1", "2"])) is None


@given(
    st.lists(st.integers(0, 10**7), min_size=1, max_size=400),
    st.integers(20, 160),
    st.integers(1, 20),
    st.booleans(),
)
def test_a_drawing_has_its_size_and_shows_whatever_there_was(
    counts: list[int], width: int, height: int, plain: bool
) -> None:
    buckets = [(NOON + timedelta(hours=n), count) for n, count in enumerate(counts)]
    *drawn, axis, times, summary = chart(buckets, "hour", width, height, plain=plain)
    assert len(drawn) == height
    assert max(map(len, [*drawn, axis, times])) <= width
    bottom = drawn[-1][axis.index("+" if plain else "└") + 1 :]
    columns = len(axis) - axis.index("+" if plain else "└") - 1
    merged = -(-len(counts) // max(1, columns))
    assert (bottom.strip() != "") == (sum(counts) > 0)
    if merged == 1 and columns == len(counts):
        assert [part != " " for part in bottom.ljust(columns)] == [count > 0 for count in counts]
    assert summary.startswith(f"{sum(counts):,} messages")


def test_a_drawing_line_by_line() -> None:
    buckets = [(NOON + timedelta(hours=n), count) for n, count in enumerate([0, 4, 8, 1])]
    assert list(chart(buckets, "hour", 11, 2)) == [
        "8 ┤    ██",
        "4 ┤  ████▂▂",
        "0 └────────",
        "   03-05",
        "13 messages, one column an hour; most: 8 at 2026-03-05 14:00",
    ]
    assert list(chart(buckets, "hour", 5, 1, plain=True)) == [
        "9 |##",
        "0 +--",
        "",
        "13 messages, one column 2 hours; most: 9 at 2026-03-05 14:00",
    ]
