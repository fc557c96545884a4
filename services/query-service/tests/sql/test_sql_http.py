"""SQL over HTTP: what is answered, in which formats, masked, and within which limits."""

import csv
import io
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pyarrow as pa
from prometheus_client import generate_latest

from millrace_runtime.service import Service
from millrace_testkit.messages_lake import DAY, MessagesLake, message
from query_service.search.columns import COLUMNS, CONTACT_COLUMNS

Ask = Callable[..., Awaitable[httpx.Response]]
Rows = Callable[..., Awaitable[list[list[Any]]]]

PHONE = "13905718264"
SECRET = "the private detail"
ARROW = "application/vnd.apache.arrow.stream"


async def test_an_aggregate(ask: Ask, lake: MessagesLake) -> None:
    lake.append(*(message(n, DAY + timedelta(minutes=n), msg_type=(1, 3)[n % 2]) for n in range(90)))
    lake.append(message(99, DAY + timedelta(days=1)))
    answer = await ask(
        "SELECT date_trunc('hour', create_time) AS hour, msg_type, count(*) AS messages FROM messages "
        "WHERE create_time::DATE = '2026-03-14' GROUP BY ALL ORDER BY ALL"
    )
    assert answer.status_code == 200
    told = answer.json()
    assert told["columns"] == [
        {"name": "hour", "type": "TIMESTAMP WITH TIME ZONE"},
        {"name": "msg_type", "type": "INTEGER"},
        {"name": "messages", "type": "BIGINT"},
    ]
    assert told["rows"] == [
        ["2026-03-14T00:00:00Z", 1, 30],
        ["2026-03-14T00:00:00Z", 3, 30],
        ["2026-03-14T01:00:00Z", 1, 15],
        ["2026-03-14T01:00:00Z", 3, 15],
    ]
    assert (told["truncated"], told["warnings"]) == (False, [])
    assert told["elapsed_ms"] >= 0
    assert answer.headers["x-row-count"] == "4"
    assert answer.headers["x-files-opened"] == "1"  # LAKE-101


async def test_the_views_have_the_columns_of_the_datasets_without_and_with_rows(
    rows: Rows, people: MessagesLake
) -> None:
    for _ in range(2):
        names = {
            view: tuple(name for name, *_ in await rows(f"DESCRIBE {view}"))
            for view in ("messages", "contacts", "other", "dead_letters")
        }
        assert names["messages"] == COLUMNS
        assert names["contacts"] == CONTACT_COLUMNS
        assert {"payload", "received_day", "year"} <= set(names["other"])
        assert {"error_type", "body", "replay", "src_element"} <= set(names["dead_letters"])
        types = {name: kind for name, kind, *_ in await rows("DESCRIBE messages")}
        assert (types["create_time"], types["year"]) == ("TIMESTAMP WITH TIME ZONE", "INTEGER")
        people.append(message(1))
    assert await rows("SHOW TABLES") == [["contacts"], ["dead_letters"], ["messages"], ["other"]]


async def test_all_formats_say_the_same(ask: Ask) -> None:
    statement = (
        "SELECT i, sum(i::HUGEINT) OVER () * 100000000000000000000 AS big, 1.50::DECIMAL(4, 2) AS exact, "
        "i / 4 AS half, CASE WHEN i = 1 THEN NULL ELSE 'a \"b\",' || chr(10) || '合' END AS text, "
        "TIMESTAMPTZ '2026-03-14 08:00:00+08' AS moment, DATE '2026-03-14' AS day, [i, NULL] AS list, "
        "{'a': 'x'} AS struct, true AS yes, INTERVAL 90 SECOND AS span, 'ab'::BLOB AS bytes, uuid() IS NULL AS i "
        "FROM range(2) t(i)"
    )
    as_json = await ask(statement)
    exact = msgspec.json.Decoder(float_hook=Decimal).decode(as_json.content)
    assert [column["name"] for column in exact["columns"]][-1] == "i"  # a name may stand twice
    assert exact["rows"] == [
        [
            *(
                0,
                100000000000000000000,
                Decimal("1.50"),
                Decimal("0.0"),
                'a "b",\n合',
                "2026-03-14T00:00:00Z",
            ),
            *("2026-03-14", [0, None], {"a": "x"}, True, "P0M0DT90S", "YWI=", False),
        ],
        [
            *(1, 100000000000000000000, Decimal("1.50"), Decimal("0.25"), None, "2026-03-14T00:00:00Z"),
            *("2026-03-14", [1, None], {"a": "x"}, True, "P0M0DT90S", "YWI=", False),
        ],
    ]
    as_csv = await ask(statement, accept="text/csv")
    assert as_csv.headers["content-type"].startswith("text/csv")
    read = list(csv.reader(io.StringIO(as_csv.content.decode(), newline="")))
    assert read[0] == [column["name"] for column in exact["columns"]]
    assert read[2] == [
        *("1", "100000000000000000000", "1.50", "0.25", "", "2026-03-14T00:00:00Z", "2026-03-14", "[1,null]"),
        *('{"a":"x"}', "true", "P0M0DT90S", "YWI=", "false"),
    ]
    as_arrow = await ask(statement, accept=ARROW)
    table = pa.ipc.open_stream(as_arrow.content).read_all()
    assert table.column(1).to_pylist() == [Decimal(100000000000000000000)] * 2
    assert table.column("list").to_pylist() == [[0, None], [1, None]]
    assert (await ask("SELECT 1", accept="image/png")).json()["error"]["details"] == {"parameter": "Accept"}


VALUES = [
    "'infinity'::TIMESTAMP",
    "'290000-01-01'::TIMESTAMP",
    "TIMESTAMP_NS '2026-03-14 00:00:00.123456789'",
    "'nan'::DOUBLE",
    "TIME '10:00:00'",
    "'101'::BIT",
    "map {1: 2}",
    "'a'::ENUM ('a', 'b')",
    "NULL",
    "170141183460469231731687303715884105727::HUGEINT",
    "uuid()",
    "union_value(a := 1)",
    "[{'a': [TIME '10:00:00', NULL]}, NULL]",
    "[1, 2]::INTEGER[2]",
    "INTERVAL '-3 months 2 days 1.5 seconds'",
    "[INTERVAL 1 DAY]",
    "[TIMESTAMP 'infinity']",
    "'1'::BIGNUM",
]


async def test_every_value_has_a_form_in_every_format(ask: Ask) -> None:
    for value in VALUES:
        for accept in ("application/json", "text/csv", ARROW):
            answer = await ask(f"SELECT {value} AS v", accept=accept)
            assert answer.status_code == 200, (value, answer.text)


async def test_an_answer_without_columns_or_rows(ask: Ask, lake: MessagesLake) -> None:
    assert (await ask("SELECT msg_id FROM messages")).json()["rows"] == []
    assert (await ask("SELECT msg_id FROM messages", accept="text/csv")).text == '"msg_id"\n'
    lake.append(message(1))
    empty = await ask("SELECT msg_id FROM messages WHERE false", accept=ARROW)
    assert pa.ipc.open_stream(empty.content).read_all().schema.names == ["msg_id"]


MASKED = [
    ("mobile", "contacts", PHONE, "139****8264"),
    ("mobile AS nickName", "contacts", PHONE, "139****8264"),
    ("max(mobile)", "contacts", PHONE, "139****8264"),
    ("reverse(reverse(mobile))", "contacts", PHONE, "139****8264"),
    ("list(mobile)[1]", "contacts", PHONE, "139****8264"),
    ("contacts.mobile", "contacts", PHONE, "139****8264"),
    ("(contacts::VARCHAR)[:0] || (SELECT mobile FROM contacts c)", "contacts", PHONE, "139****8264"),
    ("extra_fields->>'mobile'", "contacts", PHONE, "139****8264"),
    ("json_extract_string(extra_fields, '$.mobile')", "contacts", PHONE, "139****8264"),
    ("regexp_extract(extra_fields, '[0-9*]{11}')", "contacts", PHONE, "139****8264"),
    ("customInfo->>'detail'", "contacts", SECRET, "***"),
    ("extra_fields->>'mobile'", "messages", PHONE, "139****8264"),
    ("payload->'data'->>'mobile'", "other", PHONE, "139****8264"),
    (
        "min(body) FILTER (WHERE src_line = 1)",
        "dead_letters",
        f'{{"mobile":"{PHONE}"}}',
        '{"mobile":"139****8264"}',
    ),
    ("min(body) FILTER (WHERE src_line = 2)", "dead_letters", f"mobile={PHONE}", '"***"'),
    ("max(body_base64)", "dead_letters", "MTM5MDU3MTgyNjQ=", "***"),
]


async def test_personal_data_is_masked_whatever_is_made_of_it(
    rows: Rows, ask: Ask, people: MessagesLake
) -> None:
    """LAKE-54, LAKE-55, LAKE-56."""
    people.append(message(1, extra_fields=f'{{"mobile":"{PHONE}"}}'))
    for column, view, clear, masked in MASKED:
        statement = f"SELECT {column} FROM {view}"
        assert await rows(statement) == [[masked]], statement
        assert await rows(statement, key="clear") == [[masked]]  # it has to be asked for
        assert await rows(statement, key="clear", unmask=True) == [[clear]], statement
        refused = await ask(statement, unmask=True)
        assert (refused.status_code, "lake:unmask" in refused.text) == (403, True)


async def test_masked_values_cannot_be_guessed_by_conditions(rows: Rows, people: MessagesLake) -> None:
    """LAKE-56: neither by comparing, joining or ordering nor by what an error or a plan says."""
    for condition in (
        f"mobile = '{PHONE}'",
        f"mobile LIKE '{PHONE[:5]}%'",
        f"extra_fields->>'mobile' = '{PHONE}'",
        f"mobile IN (VALUES ('{PHONE}'))",
        f"md5(mobile) = md5('{PHONE}')",
    ):
        assert await rows(f"SELECT count(*) FROM contacts WHERE {condition}") == [[0]], condition
    for statement in (
        "SELECT * FROM contacts",
        "SUMMARIZE contacts",
        "SELECT contacts FROM contacts",
        "SELECT to_json(c) FROM contacts c",
        "SELECT COLUMNS(*)::VARCHAR FROM contacts",
        "EXPLAIN ANALYZE SELECT mobile FROM contacts ORDER BY mobile",
        "FROM other",
        "FROM dead_letters",
    ):
        shown = json.dumps(await rows(statement))
        assert PHONE not in shown, statement
        assert SECRET not in shown, statement


async def test_an_error_of_a_conversion_shows_masked_text_only(ask: Ask, people: MessagesLake) -> None:
    answer = await ask("SELECT error(mobile) FROM contacts")
    assert answer.status_code == 400
    assert PHONE not in answer.text
    answer = await ask("SELECT extra_fields::INTEGER FROM contacts")
    assert answer.status_code == 400
    assert PHONE not in answer.text


WRONG = [
    (b"", "body"),
    (b"SELECT 1", "body"),
    (b'{"sql": 1}', "body"),
    (b'{"sql": "SELECT 1", "rows": 1}', "rows"),
    (b'{"sql": " "}', "sql"),
    (b'{"sql": "SELECT \\u0000 1"}', "sql"),
    (b'{"sql": "SELECT \'\\ud800\'"}', "body"),
    (b'{"sql": "SELECT 1", "limit": 0}', "limit"),
    (b'{"sql": "SELECT 1", "limit": 100001}', "limit"),
    (b'{"sql": "SELECT 1", "unmask": 1}', "unmask"),
    (b'{"sql": "' + b"x" * 100_001 + b'"}', "sql"),
    (b'{"sql": "SELECT nope FROM messages"}', "nope"),
    (b'{"sql": "SELECT 1 +"}', "syntax error"),
    (b'{"sql": "SELECT\\n 1 FROM FROM"}', "line 2"),
    (b'{"sql": "SELECT \'a\'::INTEGER"}', "Could not convert"),
    (b'{"sql": "' + b"(" * 20_000 + b'"}', "sql"),
    (b'{"sql": "SELECT ' + b"1+" * 20_000 + b'1"}', "sql"),
]


async def test_what_is_not_right_is_400_and_says_why(http: httpx.AsyncClient, lake: MessagesLake) -> None:
    lake.append(message(1))
    for body, says in WRONG:
        answer = await http.post("/api/v1/sql", content=body, timeout=60)
        assert answer.status_code == 400, (body[:80], answer.text)
        assert answer.json()["error"]["code"] == "IDGEN-COMMON-0001"
        assert says in answer.text, (body[:80], answer.text)
        assert str(lake.root) not in answer.text
    assert (await http.post("/api/v1/sql", json={"sql": "SELECT 1"})).status_code == 200


async def test_a_key_of_the_right_scope_is_needed(ask: Ask) -> None:
    assert [
        (await ask("SELECT 1", key=key)).status_code for key in ("", "stranger", "nothing", "reader")
    ] == [
        401,
        401,
        403,
        200,
    ]


async def test_rows_are_cut_at_the_limit_and_the_answer_says_so(ask: Ask) -> None:
    for limit, cut in ((9, True), (10, False), (11, False)):
        for accept in ("application/json", "text/csv", ARROW):
            answer = await ask("SELECT i FROM range(10) t(i) ORDER BY i", limit=limit, accept=accept)
            assert answer.headers["x-truncated"] == str(cut).lower()
            assert answer.headers["x-row-count"] == str(min(limit, 10))
        rows = (await ask("SELECT i FROM range(10) t(i) ORDER BY i", limit=limit)).json()
        assert (rows["rows"], rows["truncated"]) == ([[i] for i in range(min(limit, 10))], cut)
    default = await ask("SELECT i FROM range(1000000) t(i)")
    assert (len(default.json()["rows"]), default.json()["truncated"]) == (10_000, True)
    most = await ask("SELECT i FROM range(1000000) t(i)", limit=100_000, accept=ARROW)
    assert pa.ipc.open_stream(most.content).read_all().num_rows == 100_000


async def test_the_plan_names_no_place(ask: Ask, lake: MessagesLake, tmp_path: Path) -> None:
    lake.append(message(1))
    for explain in ("EXPLAIN", "EXPLAIN ANALYZE", "explain analyze -- a\n"):
        answer = await ask(f"{explain} SELECT content FROM messages WHERE length(content) > 1")
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert [column["name"] for column in told["columns"]] == ["explain_key", "explain_value"]
        assert "READ_PARQUET" in told["rows"][0][1].upper()
        assert str(tmp_path) not in answer.text


async def test_archived_days_are_read_and_no_row_twice(
    rows: Rows, people: MessagesLake, lake: MessagesLake
) -> None:
    """LAKE-101, LAKE-110: a row that the archive has already and the lake still has."""
    archive = MessagesLake(lake.root.parent / "archive", after_commit=lake.after_commit)
    archive.append(message(1), message(2))
    lake.append(message(2), message(3))
    assert await rows("SELECT right(msg_id, 1), count(*) FROM messages GROUP BY ALL ORDER BY ALL") == [
        ["1", 1],
        ["2", 1],
        ["3", 1],
    ]


async def test_a_file_that_breaks_or_goes_is_named_and_the_rest_answered(
    ask: Ask, lake: MessagesLake
) -> None:
    """LAKE-90."""
    lake.append(message(1))
    broken = lake.files()[0]
    lake.append(message(2))
    assert (await ask("SELECT count(*) FROM messages")).json()["rows"] == [[2]]
    whole = broken.read_bytes()
    damaged = whole[:40] + bytes(len(whole) - 80) + whole[-40:]  # size and marks are right
    for content in (b"", damaged, None):
        if content is None:
            broken.unlink()
        else:
            broken.write_bytes(content)
        answer = await ask("SELECT count(DISTINCT content) FROM messages")
        assert answer.status_code == 200, answer.text
        assert answer.json()["rows"] == [[1]]
        assert broken.name in answer.json()["warnings"][0]
        assert broken.name in answer.headers["x-warnings"]


async def test_compacted_files_are_followed(rows: Rows, lake: MessagesLake) -> None:
    for number in range(4):
        lake.append(message(number))
    assert await rows("SELECT count(*) FROM messages") == [[4]]
    lake.after_commit = lambda: None  # the handle is not told
    lake.compact_and_vacuum()
    assert await rows("SELECT count(DISTINCT msg_id) FROM messages") == [[4]]


async def test_questions_are_counted(ask: Ask, service: Service, lake: MessagesLake) -> None:
    lake.append(message(1))
    await ask("SELECT msg_id FROM messages")
    await ask("FROM nothing")
    text = generate_latest(service.registry).decode()
    assert 'millrace_query_rows_total{operation="sql"} 1.0' in text
    assert 'millrace_query_failures_total{operation="sql"} 1.0' in text
    assert 'millrace_query_seconds_count{operation="sql"} 1.0' in text


async def test_openapi_describes_it(http: httpx.AsyncClient) -> None:
    described = (await http.get("/api-docs/openapi.json")).json()["paths"]["/api/v1/sql"]["post"]
    properties = described["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert set(properties) == {"sql", "limit", "unmask"}
