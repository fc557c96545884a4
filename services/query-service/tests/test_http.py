"""The HTTP API as its users see it."""

import csv
import io
import re
from datetime import timedelta

import httpx
import pyarrow as pa
import pytest
from prometheus_client import generate_latest

from millrace_runtime.service import Service
from millrace_testkit.messages_lake import DAY, MessagesLake, message, ordered, shown
from query_service.search.columns import COLUMNS, SCHEMA

TODAY = {"start": "2026-03-14", "end": "2026-03-14"}
CSV = {"Accept": "text/csv"}
ARROW = {"Accept": "application/vnd.apache.arrow.stream"}


async def test_a_page(http: httpx.AsyncClient, lake: MessagesLake) -> None:
    lake.append(*(message(n, DAY + timedelta(seconds=n // 2)) for n in range(10)))
    answer = await http.get(
        "/api/v1/messages", params={**TODAY, "limit": 3, "offset": 4, "columns": "msg_id,day"}
    )
    assert answer.status_code == 200
    assert answer.json() == {
        "total": 10,
        "items": [{"msg_id": row["msg_id"], "day": 14} for row in lake.rows[4:7]],
        "limit": 3,
        "offset": 4,
        "warnings": [],
    }
    assert list(answer.json()["items"][0]) == ["msg_id", "day"]
    assert answer.headers["x-files-opened"] == "1"
    assert answer.headers["x-total-count"] == "10"


async def test_repeated_parameters_are_any_of(http: httpx.AsyncClient, lake: MessagesLake) -> None:
    lake.append(*(message(n, msg_type=(1, 3, 49)[n % 3]) for n in range(9)))
    params = [*TODAY.items(), ("msg_type", "3"), ("msg_type", "49"), ("columns", "msg_type")]
    answer = (await http.get("/api/v1/messages", params=params)).json()
    assert answer["total"] == 6
    assert {row["msg_type"] for row in answer["items"]} == {3, 49}


async def test_json_csv_and_arrow_say_the_same(http: httpx.AsyncClient, lake: MessagesLake) -> None:
    lake.append(
        message(1, content='comma, "quote"\nnew line 📎', extra_fields='{"mobile":"13905718264"}'),
        message(2, content=""),
        *(message(n, DAY + timedelta(seconds=n)) for n in range(3, 40)),
    )
    rows = [shown(row) for row in ordered(lake.rows)]
    rows[0]["extra_fields"] = '{"mobile":"139****8264"}'

    as_json = (await http.get("/api/v1/messages", params=TODAY)).json()["items"]
    assert as_json == rows

    as_csv = await http.get("/api/v1/messages", params=TODAY, headers=CSV)
    assert as_csv.headers["content-type"].startswith("text/csv")
    read = list(csv.DictReader(io.StringIO(as_csv.content.decode(), newline="")))
    assert read == [{k: "" if v is None else str(v) for k, v in row.items()} for row in rows]

    as_arrow = await http.get("/api/v1/messages", params=TODAY, headers=ARROW)
    table = pa.ipc.open_stream(as_arrow.content).read_all()
    assert table.schema == SCHEMA
    assert table["msg_id"].to_pylist() == [row["msg_id"] for row in rows]
    assert table["create_time"].to_pylist() == [row["create_time"] for row in ordered(lake.rows)]
    assert table["extra_fields"].to_pylist() == [row["extra_fields"] for row in rows]


async def test_csv_and_arrow_are_not_limited_by_default(http: httpx.AsyncClient, lake: MessagesLake) -> None:
    lake.append(*(message(n) for n in range(250)))
    assert len((await http.get("/api/v1/messages", params=TODAY)).json()["items"]) == 100
    lines = (await http.get("/api/v1/messages", params=TODAY, headers=CSV)).text.splitlines()
    assert len(lines) == 251
    two = await http.get("/api/v1/messages", params={**TODAY, "limit": 2}, headers=ARROW)
    assert pa.ipc.open_stream(two.content).read_all().num_rows == 2
    assert two.headers["x-total-count"] == "250"


async def test_an_empty_lake_has_all_columns(http: httpx.AsyncClient, service: Service) -> None:
    assert (await http.get("/api/v1/messages", params=TODAY)).json()["items"] == []
    header = (await http.get("/api/v1/messages", params=TODAY, headers=CSV)).text
    assert header.replace('"', "").strip() == ",".join(COLUMNS)
    table = pa.ipc.open_stream((await http.get("/api/v1/messages", params=TODAY, headers=ARROW)).content)
    assert table.read_all().schema == SCHEMA
    assert (await service.health.ready())["ready"] is True


async def test_one_message(http: httpx.AsyncClient, lake: MessagesLake) -> None:
    lake.append(*(message(n) for n in range(5)), message(77, msg_id="a/b c"))
    msg_id = lake.rows[3]["msg_id"]
    assert (await http.get(f"/api/v1/messages/{msg_id}")).json() == shown(lake.rows[3])
    assert (await http.get(f"/api/v1/messages/{msg_id}?columns=day,guid")).json() == {
        "day": 14,
        "guid": lake.rows[3]["guid"],
    }
    assert (await http.get("/api/v1/messages/a%2Fb%20c")).json()["msg_id"] == "a/b c"
    assert (await http.get(f"/api/v1/messages/{msg_id}", headers=CSV)).text.count("\n") == 2

    absent = await http.get("/api/v1/messages/123")
    assert absent.status_code == 404
    error = absent.json()["error"]
    assert error["code"] == "IDGEN-RES-2007"
    assert set(error) == {"code", "message", "details", "timestamp", "request_id"}
    assert error["request_id"] == absent.headers["x-request-id"]


async def test_a_key_of_the_right_scope_is_needed(http: httpx.AsyncClient, lake: MessagesLake) -> None:
    lake.append(message(1, extra_fields='{"mobile":"13905718264"}'))

    async def status(path: str, key: str, unmask: str = "false") -> int:
        params = {**(TODAY if path == "/api/v1/messages" else {}), "unmask": unmask}
        return (await http.get(path, params=params, headers={"X-API-Key": key})).status_code

    for path in ("/api/v1/messages", f"/api/v1/messages/{lake.rows[0]['msg_id']}"):
        assert await status(path, "") == 401
        assert await status(path, "stranger") == 401
        assert await status(path, "nothing") == 403
        assert await status(path, "reader") == 200
        assert await status(path, "reader", "true") == 403
        assert await status(path, "clear", "true") == 200
    clear = await http.get(
        "/api/v1/messages", params={**TODAY, "unmask": "1"}, headers={"X-API-Key": "clear"}
    )
    assert clear.json()["items"][0]["extra_fields"] == '{"mobile":"13905718264"}'


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("", "start"),
        ("start=2026-03-15&end=2026-03-14", "start"),
        ("start=2026-03-14&end=2026-03-14&limit=0", "limit"),
        ("start=2026-03-14&end=2026-03-14&columns=a", "columns"),
        ("start=2026-03-14&end=2026-03-14&columns=msg_id%22+FROM+x+--", "columns"),
        ("start=2026-03-14&end=2026-03-14&room=a", "room"),
        ("start=2026-03-14&end=2026-03-14&msg_type=%00", "msg_type"),
    ],
)
async def test_a_bad_parameter_is_400_and_named(http: httpx.AsyncClient, query: str, named: str) -> None:
    answer = await http.get(f"/api/v1/messages?{query}")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["details"]) == ("IDGEN-COMMON-0001", {"parameter": named})


async def test_odd_texts_match_nothing_and_break_nothing(http: httpx.AsyncClient, lake: MessagesLake) -> None:
    lake.append(message(1))
    for text in ("%00", "%FF%FE", "'; DROP TABLE x; --", "$files", "*" * 5_000):
        answer = await http.get(f"/api/v1/messages?start=2026-03-14&end=2026-03-14&chatroom={text}")
        assert (answer.status_code, answer.json()["total"]) == (200, 0)
        assert (await http.get(f"/api/v1/messages/{text}")).status_code == 404


async def test_the_largest_days_are_days(http: httpx.AsyncClient, lake: MessagesLake) -> None:
    lake.append(message(1))
    for extra in ({}, {"msg_type": "1"}):
        params = {"start": "0001-01-01", "end": "9999-12-31", **extra}
        assert (await http.get("/api/v1/messages", params=params)).json()["total"] == 1


async def test_a_broken_file_is_named_in_header_and_body(http: httpx.AsyncClient, lake: MessagesLake) -> None:
    lake.append(message(1))
    broken = lake.files()[0]
    lake.append(message(2))
    broken.write_bytes(b"")
    answer = await http.get("/api/v1/messages", params=TODAY)
    assert answer.json()["total"] == 1
    assert broken.name in answer.json()["warnings"][0]
    for headers in (CSV, ARROW):
        streamed = await http.get("/api/v1/messages", params=TODAY, headers=headers)
        assert broken.name in streamed.headers["x-warnings"]
    lost = await http.get(f"/api/v1/messages/{lake.rows[0]['msg_id']}")
    assert broken.name in lost.json()["error"]["details"]["warnings"][0]


async def test_metrics_tell_age_and_work(
    http: httpx.AsyncClient, lake: MessagesLake, service: Service
) -> None:
    lake.append(message(1, ingestion_time=DAY + timedelta(hours=11, minutes=59)))
    lake.append(message(2, ingestion_time=DAY + timedelta(hours=11, minutes=58)))
    await http.get("/api/v1/messages", params={**TODAY, "msg_type": 1})
    text = generate_latest(service.registry).decode()

    def value(name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        assert found, text
        return float(found[1])

    assert value("millrace_query_newest_row_age_seconds") == 60.0 + 2  # a second for each commit
    assert value("millrace_query_live_files") == 2
    assert value("millrace_query_handle_age_seconds") == 0
    assert value('millrace_query_rows_total{operation="search"}') == 2
    assert value('millrace_query_files_opened_total{operation="search"}') == 2
    assert value('millrace_query_seconds_count{operation="search"}') == 1


async def test_openapi_names_every_parameter(http: httpx.AsyncClient) -> None:
    described = (await http.get("/api-docs/openapi.json")).json()["paths"]["/api/v1/messages"]["get"]
    names = {parameter["name"] for parameter in described["parameters"]}
    assert {"start", "end", "sender", "msg_type", "columns", "limit", "offset", "unmask"} <= names


async def test_the_archive_beside_the_lake_is_answered_too(
    http: httpx.AsyncClient, lake: MessagesLake
) -> None:
    """LAKE-101, and LAKE-90 for what lies in its directories."""
    archive = MessagesLake(lake.root.parent / "archive", after_commit=lake.after_commit)
    lake.append(message(1))
    archive.append(message(2, DAY + timedelta(seconds=1)))
    (archive.files()[0].parent / "zero.parquet").write_bytes(b"")
    answer = (await http.get("/api/v1/messages", params={**TODAY, "columns": "msg_id"})).json()
    assert [row["msg_id"] for row in answer["items"]] == [lake.rows[0]["msg_id"], archive.rows[0]["msg_id"]]
    assert answer["warnings"] == ["archive/year=2026/month=03/day=14/zero.parquet is empty; it is not read"]
    one = await http.get(f"/api/v1/messages/{archive.rows[0]['msg_id']}?columns=msg_id")
    assert one.json() == {"msg_id": archive.rows[0]["msg_id"]}
