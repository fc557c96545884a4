"""The HTTP API over loopback (ID-49 to 54)."""

import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from millrace_relational import DatabaseUrl

TAG = {"workspace": "acme", "group": "shop", "biz_tag": "order-id"}
EVENT = {**TAG, "biz_tag": "event-id"}
GENERATE, BATCH, PARSE = "/api/v1/generate", "/api/v1/generate/batch", "/api/v1/parse"


@pytest.fixture
def empty(tmp_path: Path) -> DatabaseUrl:
    """Which database it is cannot be seen from here."""
    return DatabaseUrl.parse(f"sqlite+aiosqlite:///{tmp_path}/ids.db")


@pytest.fixture
async def http(served: Any) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"X-API-Key": "user-key"}
    async with httpx.AsyncClient(base_url=served.http_url, headers=headers, trust_env=False) as client:
        yield client


def error_of(answer: httpx.Response) -> tuple[int, str]:
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "details", "timestamp", "request_id"}
    assert error["request_id"] == answer.headers["x-request-id"]
    return answer.status_code, error["code"]


async def test_two_calls_give_the_first_two_ids_of_the_data_centre(http: httpx.AsyncClient) -> None:
    first = await http.post(GENERATE, json=TAG)
    second = await http.post(GENERATE, json=TAG)

    assert first.status_code == 200
    assert first.json() == {
        "id": "1000000000000",
        "algorithm": "segment",
        "timestamp": "2026-01-01T00:00:00.000Z",
    }
    assert second.json()["id"] == "1000000000001"


async def test_a_batch_is_consecutive_rising_strings(http: httpx.AsyncClient) -> None:
    answer = (await http.post(BATCH, json={**TAG, "size": 100})).json()
    assert answer["ids"] == [str(1_000_000_000_000 + offset) for offset in range(100)]
    assert (answer["size"], answer["algorithm"]) == (100, "segment")


async def test_a_batch_without_a_size_has_ten(http: httpx.AsyncClient) -> None:
    assert len((await http.post(BATCH, json=TAG)).json()["ids"]) == 10


async def test_a_prefixed_tag_writes_its_prefix_and_reads_it_back(http: httpx.AsyncClient) -> None:
    invoice = {**TAG, "biz_tag": "invoice"}
    made = (await http.post(GENERATE, json=invoice)).json()["id"]
    assert made == "INV-1000000000000"

    parsed = (await http.post(PARSE, json={"id": made, **invoice})).json()

    assert parsed == {
        "original_id": "INV-1000000000000",
        "numeric_value": "1000000000000",
        "algorithm": "segment",
        "metadata": {
            "timestamp": None,
            "datetime": None,
            "datacenter_id": 0,
            "worker_id": None,
            "sequence": None,
            "biz_tag": "invoice",
        },
        "timestamp": "2026-01-01T00:00:00.000Z",
    }


async def test_a_uuid_tag_gives_uuids_that_tell_their_time(http: httpx.AsyncClient) -> None:
    made = (await http.post(BATCH, json={**EVENT, "size": 3, "algorithm": "UUID7"})).json()
    assert made["algorithm"] == "uuid_v7"
    assert made["ids"] == sorted(set(made["ids"]))

    parsed = (await http.post(PARSE, json={"id": made["ids"][0]})).json()

    assert parsed["numeric_value"] == str(uuid.UUID(made["ids"][0]).int)
    assert parsed["metadata"]["datetime"] == "2026-01-01T00:00:00.000Z"
    assert parsed["metadata"]["timestamp"] == 1_767_225_600_000


async def test_parse_of_the_largest_id_over_http(http: httpx.AsyncClient) -> None:
    parsed = (await http.post(PARSE, json={"id": "9223372036854775807"})).json()
    assert parsed["metadata"] == {
        "timestamp": 6102113711103,
        "datetime": "2163-05-15T07:35:11.103Z",
        "datacenter_id": 7,
        "worker_id": 255,
        "sequence": 1023,
        "biz_tag": None,
    }


@pytest.mark.parametrize("size", [0, -1, 1.5, 1.0, "10", None, 101, 10_001, True, 2**70, [1]])
async def test_a_wrong_size_is_refused_and_consumes_nothing(http: httpx.AsyncClient, size: object) -> None:
    answer = await http.post(BATCH, json={**TAG, "size": size})
    assert error_of(answer) == (400, "IDGEN-COMMON-0001")
    assert answer.json()["error"]["message"].startswith("size: ")
    assert (await http.post(GENERATE, json=TAG)).json()["id"] == "1000000000000"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b'"x"', "body"),
        (b"\xff\xfe", "body"),
        (b'{"workspace": "\\ud800"}', "body"),
        (b"[" * 100_000, "body"),
        (b"{}", "workspace"),
        (json.dumps({**TAG, "extra": 1}).encode(), "extra"),
        (json.dumps({**TAG, "size": 1}).encode(), "size"),
        (json.dumps({**TAG, "workspace": ""}).encode(), "workspace"),
        (json.dumps({**TAG, "workspace": "-acme"}).encode(), "workspace"),
        (json.dumps({**TAG, "group": "a" * 65}).encode(), "group"),
        (json.dumps({**TAG, "group": None}).encode(), "group"),
        (json.dumps({**TAG, "biz_tag": "order id"}).encode(), "biz_tag"),
        (json.dumps({**TAG, "biz_tag": "order-id\n"}).encode(), "biz_tag"),
        (json.dumps({**TAG, "biz_tag": 7}).encode(), "biz_tag"),
        (json.dumps({**TAG, "algorithm": ""}).encode(), "algorithm"),
        (json.dumps({**TAG, "algorithm": "a" * 21}).encode(), "algorithm"),
        (json.dumps({**TAG, "algorithm": "dice"}).encode(), "algorithm"),
        (json.dumps({**TAG, "algorithm": "uuid_v7"}).encode(), "algorithm"),
        (json.dumps({**TAG, "algorithm": "snowflake"}).encode(), "algorithm"),
        (json.dumps({**EVENT, "algorithm": "uuid_v4"}).encode(), "algorithm"),
        (json.dumps({**TAG, "biz_tag": "far"}).encode(), "biz_tag"),
    ],
)
async def test_a_wrong_request_names_its_field(http: httpx.AsyncClient, body: bytes, field: str) -> None:
    answer = await http.post(GENERATE, content=body)
    assert error_of(answer) == (400, "IDGEN-COMMON-0001")
    assert answer.json()["error"]["message"].startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "id"),
        ({"id": ""}, "id"),
        ({"id": "0"}, "id"),
        ({"id": 1000000000000}, "id"),
        ({"id": "1" * 257}, "id"),
        ({"id": "1000000000000", "workspace": "acme"}, "group"),
        ({"id": "1000000000000", "biz_tag": "order-id"}, "workspace"),
        ({"id": "1000000000000", "algorithm": "dice"}, "algorithm"),
        ({"id": "1000000000000", "algorithm": "uuid_v7"}, "id"),
        ({"id": "1000000000000", "tag": "x"}, "tag"),
        ({"id": "1000000000000", **TAG, "biz_tag": "invoice"}, "id"),
    ],
)
async def test_a_wrong_parse_request_names_its_field(
    http: httpx.AsyncClient, body: dict[str, object], field: str
) -> None:
    answer = await http.post(PARSE, json=body)
    assert error_of(answer) == (400, "IDGEN-COMMON-0001")
    assert answer.json()["error"]["message"].startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-API-Key": ""}, (401, "IDGEN-COMMON-0002")),
        ({"X-API-Key": "wrong"}, (401, "IDGEN-AUTH-1003")),
        ({"X-API-Key": "admin-key"}, (403, "IDGEN-AUTH-1002")),
        ({"X-API-Key": "parse-key"}, (403, "IDGEN-AUTH-1002")),
        ({"X-API-Key": "other-key"}, (403, "IDGEN-AUTH-1002")),
        ({"X-API-Version": "v2"}, (400, "IDGEN-COMMON-0007")),
    ],
)
async def test_who_may_not_generate(
    http: httpx.AsyncClient, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    for path in (GENERATE, BATCH):
        assert error_of(await http.post(path, json=TAG, headers=headers)) == expected


async def test_without_a_key_nothing_is_told_about_the_body(http: httpx.AsyncClient) -> None:
    del http.headers["X-API-Key"]
    for path in (GENERATE, BATCH, PARSE):
        assert error_of(await http.post(path, content=b"{")) == (401, "IDGEN-COMMON-0002")


async def test_who_may_parse(http: httpx.AsyncClient) -> None:
    body = {"id": "1000000000000"}
    for key, status in (("user-key", 200), ("parse-key", 200), ("admin-key", 200), ("generate-key", 403)):
        answer = await http.post(PARSE, json=body, headers={"X-API-Key": key})
        assert answer.status_code == status, key
    foreign = await http.post(PARSE, json={**body, **TAG}, headers={"X-API-Key": "other-key"})
    assert error_of(foreign) == (403, "IDGEN-AUTH-1002")
    admin = await http.post(PARSE, json={**body, **TAG}, headers={"X-API-Key": "admin-key"})
    assert admin.json()["metadata"]["biz_tag"] == "order-id"


async def test_a_foreign_workspace_is_403_whether_or_not_it_exists(http: httpx.AsyncClient) -> None:
    for workspace in ("rival", "no-such"):
        answer = await http.post(GENERATE, json={**TAG, "workspace": workspace})
        assert error_of(answer) == (403, "IDGEN-AUTH-1002")


async def test_unknown_names_are_404_each_with_its_code(http: httpx.AsyncClient) -> None:
    missing_group = await http.post(GENERATE, json={**TAG, "group": "none"})
    missing_tag = await http.post(GENERATE, json={**TAG, "biz_tag": "none"})
    no_groups_yet = await http.post(
        GENERATE, json={**TAG, "workspace": "rival"}, headers={"X-API-Key": "other-key"}
    )
    missing_workspace = await http.post(
        PARSE, json={"id": "1", **TAG, "workspace": "none"}, headers={"X-API-Key": "admin-key"}
    )
    assert error_of(missing_group) == (404, "IDGEN-RES-2002")
    assert error_of(missing_tag) == (404, "IDGEN-RES-2003")
    assert error_of(no_groups_yet) == (404, "IDGEN-RES-2002")
    assert error_of(missing_workspace) == (404, "IDGEN-RES-2001")


async def test_wrong_method_unknown_route_and_a_long_body(http: httpx.AsyncClient) -> None:
    assert (await http.get(GENERATE)).status_code == 405
    assert error_of(await http.get("/api/v1/nothing")) == (404, "IDGEN-RES-2007")
    long = await http.post(GENERATE, content=b" " * (1024 * 1024 + 1))
    assert error_of(long) == (413, "IDGEN-COMMON-0006")


async def test_the_index_needs_no_key_and_the_request_id_is_echoed(http: httpx.AsyncClient) -> None:
    del http.headers["X-API-Key"]
    answer = await http.get("/api/v1/", headers={"X-Request-Id": "r-1", "X-API-Version": "v1"})
    assert answer.json()["endpoints"] == ["GET /", "POST /generate", "POST /generate/batch", "POST /parse"]
    assert (answer.headers["x-request-id"], answer.headers["x-api-version"]) == ("r-1", "v1")
    uuid.UUID((await http.get("/api/v1/")).headers["x-request-id"])


async def test_health_and_metrics_need_no_key_and_count_what_happened(
    http: httpx.AsyncClient, served: Any
) -> None:
    await http.post(BATCH, json={**TAG, "size": 25})
    await http.post(GENERATE, json={**TAG, "biz_tag": "none"})
    del http.headers["X-API-Key"]

    assert (await http.get("/health")).json() == {
        "status": "healthy", "algorithm": "segment", "state": "normal"
    }  # fmt: skip
    assert (await http.get("/ready")).json() == {
        "ready": True, "database": True, "cache": None, "etcd": None, "worker_id": None, "message": "ready"
    }  # fmt: skip
    assert (await http.get("/live")).status_code == 200
    text = (await http.get("/metrics")).text
    assert 'idgen_ids_generated_total{algorithm="segment",biz_tag="order-id",dc="0"} 25.0' in text
    assert 'idgen_errors_total{code="IDGEN-RES-2003"} 1.0' in text
    assert 'idgen_segment_allocations_total{outcome="allocated"} 1.0' in text
    assert "idgen_db_up 1.0" in text
    management = f"http://127.0.0.1:{served.endpoint.management_port}"
    for path in ("/live", "/ready", "/metrics"):
        assert (await http.get(management + path)).status_code == 200


async def test_without_the_database_uuids_go_on_and_the_service_stays_ready(
    http: httpx.AsyncClient, engine: Any
) -> None:
    assert (await http.post(GENERATE, json=TAG)).status_code == 200
    assert (await http.post(GENERATE, json=EVENT)).status_code == 200
    async with engine.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE segments RENAME TO gone_segments")
        await connection.exec_driver_sql("ALTER TABLE groups RENAME TO gone_groups")

    rest = [await http.post(BATCH, json={**TAG, "size": size}) for size in (9, 1)]

    assert rest[0].json()["ids"][-1] == "1000000000009"
    assert error_of(rest[1]) == (503, "IDGEN-SEG-1003")
    assert "segments" not in rest[1].text
    assert (await http.post(GENERATE, json=EVENT)).status_code == 200
    ready = await http.get("/ready")
    assert (ready.status_code, ready.json()["database"]) == (200, False)
    assert (await http.get("/health")).json() == {
        "status": "degraded", "algorithm": "uuid_v7", "state": "degraded"
    }  # fmt: skip


async def test_the_description_is_generated_and_names_the_bodies(http: httpx.AsyncClient) -> None:
    description = (await http.get("/api-docs/openapi.json")).json()
    body = description["paths"][BATCH]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["additionalProperties"] is False
    assert set(body["required"]) == {"workspace", "group", "biz_tag"}
