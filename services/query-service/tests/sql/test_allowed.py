"""What a statement may be, on the trees that DuckDB makes."""

import json
import re
from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_service.sql.allowed import VIEWS, NotAllowedError, unexplained, views_read
from query_service.sql.moments import ALWAYS, bounds

FUNCTIONS = frozenset(
    ("count", "count_star", "read_text", "list_value", "struct_pack", "+", "->>", "date_trunc", "getvariable")
)
DAY_US = 86_400_000_000
MARCH_14 = 1_773_446_400_000_000


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def tree(engine: duckdb.DuckDBPyConnection, text: str) -> dict[str, object]:
    found = engine.execute("SELECT json_serialize_sql($1)", [text]).fetchall()
    return dict(json.loads(found[0][0]))


def read(engine: duckdb.DuckDBPyConnection, text: str) -> tuple[str, ...]:
    statement = unexplained(text)
    return views_read(tree(engine, statement.select), FUNCTIONS, statement)


@pytest.mark.parametrize(
    ("text", "views"),
    [
        ("SELECT 1", ()),
        ("FROM messages", ("messages",)),
        ("TABLE Contacts", ("contacts",)),
        ('SELECT * FROM "OTHER", dead_letters d', ("other", "dead_letters")),
        ("WITH a AS (FROM messages) SELECT (SELECT count(*) FROM contacts) FROM a", ("messages", "contacts")),
        ("WITH RECURSIVE a AS (SELECT 1 i UNION ALL SELECT i + 1 FROM a) FROM a, range(3)", ()),
        ("VALUES (1), (2)", ()),
        ("DESCRIBE messages", ("messages",)),
        ("SUMMARIZE SELECT 1", ()),
        ("SHOW TABLES", VIEWS),
        ("FROM messages PIVOT (count(*) FOR msg_type IN (1, 3))", ("messages",)),
        ("SELECT 1 UNION ALL FROM (SELECT count(*) FROM other)", ("other",)),
        ("/* a */ EXPLAIN -- b\n ANALYZE FROM messages", ("messages",)),
        ("explain (SELECT 1)", ()),
        ("SELECT count(*) OVER (ORDER BY msg_id) FROM messages TABLESAMPLE 10%", ("messages",)),
    ],
)
def test_what_only_reads_the_views_is_allowed(
    engine: duckdb.DuckDBPyConnection, text: str, views: tuple[str, ...]
) -> None:
    assert read(engine, text) == views


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("SELECT 1; SELECT 2", "2"),
        ("FROM 'a.parquet'", "table 'a.parquet' is not allowed"),
        ("SELECT 1 WHERE EXISTS (FROM 'a.csv')", "a.csv"),
        ("WITH a AS (FROM '/etc/passwd') SELECT 1", "/etc/passwd"),
        ('WITH "a.parquet" AS (SELECT 1) FROM "a.parquet"', "a.parquet"),
        ("EXPLAIN ANALYZE FROM 'a.parquet'", "line 1, column 22"),
        ("EXPLAIN (FORMAT json) SELECT 1", "EXPLAIN with options"),
        ("FROM memory.main.messages", "no schema"),
        ("FROM information_schema.tables", "no schema"),
        ("FROM duckdb_views", "duckdb_views"),
        ("FROM sqlite_master", "sqlite_master"),
        ("FROM read_text('/etc/passwd')", "table function 'read_text' is not allowed (line 1, column 6)"),
        ("SELECT read_text('x')", "'read_text' is not allowed"),
        ("FROM duckdb_settings()", "duckdb_settings"),
        ("FROM query('SELECT 1')", "query"),
        ("FROM query_table('messages')", "query_table"),
        ("FROM json_execute_serialized_sql('{}')", "json_execute_serialized_sql"),
        ("FROM glob('*')", "glob"),
        ("FROM histogram(messages, msg_type)", "histogram"),
        ("SELECT current_setting('temp_directory')", "current_setting"),
        ("SELECT getvariable('a')", "getvariable"),
        (
            "SELECT 'é',\n  millrace_mask_json('x')",
            "there is no function 'millrace_mask_json' (line 2, column 3)",
        ),
        ("SELECT main.count(*) FROM messages", "no schema"),
        ("SELECT $1", "parameter"),
        ("SELECT ?", "parameter"),
        ("WITH a AS (INSERT INTO messages VALUES (1) RETURNING *) FROM a", "insert query is not allowed"),
        ("WITH a AS (DELETE FROM messages RETURNING *) FROM a", "not allowed"),
        ("FROM messages AT (VERSION => 1)", "AT"),
        ("SHOW DATABASES", "SHOW TABLES"),
        ("SHOW ALL TABLES", "SHOW TABLES"),
        ("DESCRIBE 'a.parquet'", "a.parquet"),
        ("SHOW 'a.parquet'", "SHOW TABLES"),
        ("SUMMARIZE 'a.parquet'", "a.parquet"),
        ("", "0"),
        (";;", "0"),
    ],
)
def test_anything_else_is_refused_by_name_and_place(
    engine: duckdb.DuckDBPyConnection, text: str, says: str
) -> None:
    with pytest.raises(NotAllowedError, match=re.escape(says)):
        read(engine, text)


def test_what_is_not_known_is_refused() -> None:
    """A later DuckDB may have more kinds of everything."""
    for part in (
        {"type": "COPY_NODE"},
        {"class": "NEW", "type": "NEW"},
        {"type": "NEW_TABLE", "alias": "", "sample": None},
    ):
        with pytest.raises(NotAllowedError, match=r"new|copy"):
            views_read(
                {"statements": [{"node": {"type": "SELECT_NODE", "from_table": part}}]}, (), unexplained("")
            )


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ("create_time >= '2026-03-14' AND create_time < '2026-03-15'", (MARCH_14, MARCH_14 + DAY_US)),
        ("m.create_time::DATE = '2026-03-14' AND msg_type = 1", (MARCH_14, MARCH_14 + DAY_US)),
        ("create_time BETWEEN DATE '2026-03-14' AND '2026-03-14 00:00:01'", (MARCH_14, MARCH_14 + 1_000_001)),
        ("'2026-03-14T08:00:00+08:00' <= create_time", (MARCH_14, ALWAYS[1])),
        ("create_time >= '2026-03-14' OR msg_type = 1", ALWAYS),
        ("NOT create_time >= '2026-03-14'", ALWAYS),
        ("create_time >= '14.03.2026'", ALWAYS),
        ("create_time >= DATE '2026-03-14 23:00:00+00'", ALWAYS),
        ("c.create_time >= '2026-03-14'", ALWAYS),
        ("ingestion_time >= '2026-03-14'", ALWAYS),
        ("create_time + INTERVAL 1 DAY >= '2026-03-14'", ALWAYS),
    ],
)
def test_times_are_known_where_the_text_is_plain(
    engine: duckdb.DuckDBPyConnection, condition: str, wanted: tuple[int, int]
) -> None:
    """LAKE-101."""
    assert bounds(tree(engine, f"SELECT count(*) FROM messages m WHERE {condition}")) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "FROM messages",
        "SELECT 1 FROM messages m JOIN contacts c ON true WHERE m.create_time >= '2026-03-14'",
        "WITH a AS (FROM messages) FROM a WHERE create_time >= '2026-03-14'",
        "FROM messages WHERE create_time >= '2026-03-14' UNION ALL FROM messages",
        "SELECT ingestion_time AS create_time FROM messages WHERE create_time >= '2026-03-14'",
        "SELECT 1 FROM messages AS m(create_time) WHERE create_time >= '2026-03-14'",
        "FROM messages WHERE create_time >= '2026-03-14' AND msg_id IN (SELECT msg_id FROM messages)",
    ],
)
def test_one_use_of_all_times_means_all_times(engine: duckdb.DuckDBPyConnection, text: str) -> None:
    assert bounds(tree(engine, text)) == ALWAYS


@given(st.text(max_size=40))
def test_an_explain_is_cut_off_whole_or_not_at_all(text: str) -> None:
    try:
        statement = unexplained(text)
    except NotAllowedError:
        return
    assert text.endswith(statement.select)
    assert bool(statement.explain) == (statement.begins > 0)
