"""The application of `create_app`, called in process."""

import json
import re
from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field

from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.http import create_app
from millrace_runtime.logs import request_id
from millrace_testkit.clock import ManualClock

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


class Batch(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    size: int = Field(ge=1, le=100)


@pytest.fixture
async def client(clock: ManualClock) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app("demo", "1.0.0", clock=clock, max_body_bytes=1000)

    @app.post("/batch")
    async def batch(body: Batch) -> dict[str, object]:
        return {"size": body.size, "request_id": request_id.get()}

    @app.get("/page")
    async def page(limit: Annotated[int, Query(ge=1)]) -> int:
        return limit

    @app.get("/forbidden")
    async def forbidden() -> None:
        raise ServiceError(ErrorCode.FORBIDDEN, "this API key lacks the scope lake:read")

    @app.get("/down")
    async def down() -> None:
        raise ServiceError(ErrorCode.UNAVAILABLE, "the lake cannot be read now")

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("connection to db-7.internal refused: SELECT * FROM keys")

    @app.get("/teapot/{status}")
    async def teapot(status: int) -> None:
        raise HTTPException(status, "at /var/lib/secret" if status >= 500 else "no")

    transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://demo") as connected:
        yield connected


def error_of(response: httpx.Response) -> dict[str, object]:
    body = response.json()
    assert list(body) == ["error"]
    error: dict[str, object] = body["error"]
    assert list(error) == ["code", "message", "details", "timestamp", "request_id"]
    assert error["request_id"] == response.headers["x-request-id"]
    assert response.headers["content-type"] == "application/json"
    return error


async def test_every_answer_carries_the_security_headers(client: httpx.AsyncClient) -> None:
    for path in ("/page?limit=1", "/unknown", "/broken"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["content-security-policy"] == "default-src 'self'"
        assert headers["strict-transport-security"] == "max-age=31536000"
        assert headers["referrer-policy"] == "strict-origin-when-cross-origin"


async def test_a_sane_request_id_is_echoed_and_known_to_the_handler(client: httpx.AsyncClient) -> None:
    response = await client.post("/batch", json={"size": 3}, headers={"X-Request-Id": "order 17/a"})
    assert response.headers["x-request-id"] == "order 17/a"
    assert response.json() == {"size": 3, "request_id": "order 17/a"}
    assert request_id.get() == ""


@pytest.mark.parametrize("sent", [None, "", "x" * 129, "tab\there", "\xe9"])
async def test_any_other_request_id_is_replaced(client: httpx.AsyncClient, sent: str | None) -> None:
    headers = {} if sent is None else {"X-Request-Id": sent.encode("latin-1")}
    response = await client.get("/page?limit=1", headers=headers)
    assert UUID.fullmatch(response.headers["x-request-id"])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"size": 0}, "size"),
        ({"size": "3"}, "size"),
        ({"size": None}, "size"),
        ({}, "size"),
        ({"size": 1, "extra": 1}, "extra"),
        ([1], "body"),
    ],
)
async def test_a_bad_field_is_named(client: httpx.AsyncClient, body: object, field: str) -> None:
    response = await client.post("/batch", json=body)
    error = error_of(response)
    assert (response.status_code, error["code"]) == (400, "IDGEN-COMMON-0001")
    assert str(error["message"]).startswith(f"{field}: ")
    assert error["timestamp"] == "2026-03-05T00:00:00.000Z"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"size": 1e999}', b"[" * 900, b'{"\\ud800": 1}'])
async def test_a_bad_body_is_400_and_never_500(client: httpx.AsyncClient, body: bytes) -> None:
    response = await client.post("/batch", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert error_of(response)["code"] == "IDGEN-COMMON-0001"
    assert len(str(error_of(response)["message"]).encode()) <= 200


async def test_a_bad_parameter_is_named(client: httpx.AsyncClient) -> None:
    response = await client.get("/page?limit=0")
    assert response.status_code == 400
    assert str(error_of(response)["message"]).startswith("limit: ")


async def test_unknown_routes_and_wrong_methods_have_the_same_body(client: httpx.AsyncClient) -> None:
    unknown = await client.get("/nowhere")
    assert (unknown.status_code, error_of(unknown)["code"]) == (404, "IDGEN-RES-2007")
    slash = await client.get("/batch/")
    assert slash.status_code == 404
    wrong = await client.delete("/batch")
    assert (wrong.status_code, error_of(wrong)["code"]) == (405, "IDGEN-COMMON-0001")
    assert wrong.headers["allow"] == "POST"


async def test_a_service_error_keeps_its_code_and_message(client: httpx.AsyncClient) -> None:
    response = await client.get("/forbidden")
    error = error_of(response)
    assert response.status_code == 403
    assert error["code"] == "IDGEN-AUTH-1002"
    assert error["message"] == "this API key lacks the scope lake:read"
    down = await client.get("/down")
    assert (down.status_code, error_of(down)["code"]) == (503, "IDGEN-COMMON-0005")


async def test_an_unexpected_failure_reveals_nothing(client: httpx.AsyncClient) -> None:
    response = await client.get("/broken")
    assert (response.status_code, error_of(response)["code"]) == (500, "IDGEN-COMMON-0004")
    assert not re.search("SELECT|internal refused|db-7|Traceback|RuntimeError", response.text)


@pytest.mark.parametrize(
    ("status", "code"), [(402, "IDGEN-COMMON-0001"), (429, "IDGEN-COMMON-0003"), (502, "IDGEN-COMMON-0004")]
)
async def test_plain_http_exceptions_keep_their_status(
    client: httpx.AsyncClient, status: int, code: str
) -> None:
    response = await client.get(f"/teapot/{status}")
    assert (response.status_code, error_of(response)["code"]) == (status, code)
    assert "secret" not in response.text


async def test_a_body_over_the_limit_is_413_announced_or_not(client: httpx.AsyncClient) -> None:
    announced = await client.post("/batch", content=b"x" * 1001)
    assert (announced.status_code, error_of(announced)["code"]) == (413, "IDGEN-COMMON-0006")

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"[" * 300

    streamed = await client.post("/batch", content=chunks(), headers={"content-type": "application/json"})
    assert (streamed.status_code, error_of(streamed)["code"]) == (413, "IDGEN-COMMON-0006")


async def test_only_the_served_api_version_is_accepted(client: httpx.AsyncClient) -> None:
    served = await client.get("/page?limit=1", headers={"X-API-Version": "v1"})
    assert (served.status_code, served.headers["x-api-version"]) == (200, "v1")
    other = await client.get("/page?limit=1", headers={"X-API-Version": "v2"})
    assert (other.status_code, error_of(other)["code"]) == (400, "IDGEN-COMMON-0007")


async def test_openapi_is_served_and_the_script_pages_are_not(client: httpx.AsyncClient) -> None:
    described = await client.get("/api-docs/openapi.json")
    assert json.loads(described.text)["info"] == {"title": "demo", "version": "1.0.0"}
    assert (await client.get("/docs")).status_code == 404
