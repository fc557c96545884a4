"""The HTTP door: shapes of the sheet, every refusal."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from auth_service.bootstrap.credentials import Credentials
from auth_service.compose import AuthParts
from auth_service.keys.text import new_key_text
from millrace_testkit.clock import ManualClock

WORKSPACES = "/api/v1/workspaces"
KEYS = "/api/v1/api-keys"


async def test_a_workspace_comes_with_a_key_of_five_scopes(
    admin: httpx.AsyncClient, parts: AuthParts
) -> None:
    answer = await admin.post(WORKSPACES, json={"name": "shop", "description": "a shop", "max_groups": 7})

    assert answer.status_code == 201
    made = answer.json()
    first = made.pop("user_api_key")
    assert made == {
        "id": made["id"],
        "name": "shop",
        "description": "a shop",
        "max_groups": 7,
        "max_biz_tags": 1000,
        "created_at": "2026-03-05T00:00:00.000Z",
        "updated_at": "2026-03-05T00:00:00.000Z",
    }
    assert set(first) == {"id", "api_key", "key_prefix"}
    holder = await parts.verifier.check(first["api_key"])
    assert holder.scopes == {"id:generate", "id:parse", "config:read", "config:write", "audit:read"}
    assert holder.workspace == "shop"
    assert (await admin.get(WORKSPACES)).json()["items"][1] == made


async def test_a_key_is_shown_once(admin: httpx.AsyncClient, parts: AuthParts) -> None:
    workspace = (await admin.get(WORKSPACES)).json()["items"][0]
    answer = await admin.post(KEYS, json={"workspace_id": workspace["id"], "name": "app"})

    assert answer.status_code == 201
    made = answer.json()
    text = made.pop("api_key")
    assert made == {
        "id": made["id"],
        "workspace_id": workspace["id"],
        "workspace": "demo",
        "name": "app",
        "description": None,
        "key_prefix": text[:16],
        "role": "user",
        "scopes": ["id:generate", "id:parse", "config:read"],
        "rate_limit": 10_000,
        "enabled": True,
        "expires_at": "2026-04-04T00:00:00.000Z",
        "created_at": "2026-03-05T00:00:00.000Z",
        "updated_at": "2026-03-05T00:00:00.000Z",
    }
    assert (await parts.verifier.check(text)).key_id == made["id"]
    listed = await admin.get(KEYS)
    assert made in listed.json()["items"]
    assert text[16:] not in listed.text


async def test_a_revoked_key_is_refused_at_once(admin: httpx.AsyncClient, http: httpx.AsyncClient) -> None:
    first = (await admin.post(WORKSPACES, json={"name": "shop"})).json()["user_api_key"]
    own = {"X-API-Key": first["api_key"]}
    assert (await http.get(WORKSPACES, headers=own)).json()["total"] == 1

    answer = await admin.delete(f"{KEYS}/{first['id']}")
    assert (answer.status_code, answer.json()) == (
        200,
        {"success": True, "message": "the API key is revoked"},
    )
    _require_error(await http.get(WORKSPACES, headers=own), 401, "IDGEN-AUTH-1005")
    enabled = {key["id"]: key["enabled"] for key in (await admin.get(KEYS)).json()["items"]}
    assert enabled[first["id"]] is False


async def test_a_user_key_sees_its_own_workspace_alone(
    admin: httpx.AsyncClient, http: httpx.AsyncClient
) -> None:
    own = (await admin.post(WORKSPACES, json={"name": "shop"})).json()
    headers = {"X-API-Key": own["user_api_key"]["api_key"]}

    seen = (await http.get(WORKSPACES, headers=headers)).json()
    assert ([item["name"] for item in seen["items"]], seen["total"]) == (["shop"], 1)
    _require_error(await http.post(WORKSPACES, json={"name": "x"}, headers=headers), 403, "IDGEN-AUTH-1002")
    _require_error(await http.get(KEYS, headers=headers), 403, "IDGEN-AUTH-1002")

    body = {"workspace_id": own["id"], "name": "blind", "scopes": ["lake:read"]}
    blind = (await admin.post(KEYS, json=body)).json()["api_key"]
    _require_error(await http.get(WORKSPACES, headers={"X-API-Key": blind}), 403, "IDGEN-AUTH-1002")


async def test_pages(admin: httpx.AsyncClient) -> None:
    for name in ("a", "b", "c"):
        await admin.post(WORKSPACES, json={"name": name})
    page = (await admin.get(WORKSPACES, params={"page": 2, "page_size": 3})).json()

    assert [item["name"] for item in page.pop("items")] == ["demo"]
    assert page == {"total": 4, "page": 2, "page_size": 3}
    assert len((await admin.get(KEYS, params={"page_size": 2})).json()["items"]) == 2


@pytest.mark.parametrize("path", [WORKSPACES, KEYS])
@pytest.mark.parametrize(
    ("query", "field"),
    [("page=0", "page"), ("page=x", "page"), ("page_size=0", "page_size"), ("page_size=101", "page_size"),
     ("page=99999999999999999999", "page")],
)  # fmt: skip
async def test_pages_that_cannot_be(admin: httpx.AsyncClient, path: str, query: str, field: str) -> None:
    _require_error(await admin.get(f"{path}?{query}"), 400, "IDGEN-COMMON-0001", field)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": 7}, "name"),
        ({"name": "global"}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "a", "description": "d" * 513}, "description"),
        ({"name": "a", "max_groups": 0}, "max_groups"),
        ({"name": "a", "max_groups": "7"}, "max_groups"),
        ({"name": "a", "max_biz_tags": True}, "max_biz_tags"),
        ({"name": "a", "colour": "red"}, "colour"),
        ([], "body"),
    ],
)
async def test_workspaces_that_cannot_be(admin: httpx.AsyncClient, body: object, field: str) -> None:
    _require_error(await admin.post(WORKSPACES, json=body), 400, "IDGEN-COMMON-0001", field)
    assert (await admin.get(WORKSPACES)).json()["total"] == 1


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"name": None}, "name"),
        ({"workspace_id": None}, "workspace_id"),
        ({"role": "root"}, "role"),
        ({"role": "admin"}, "workspace_id"),
        ({"scopes": ["lake:read", "lake:drop"]}, "scopes"),
        ({"scopes": "lake:read"}, "scopes"),
        ({"rate_limit": 99}, "rate_limit"),
        ({"rate_limit": 10**30}, "rate_limit"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": 1_800_000_000}, "expires_at"),
        ({"expires_at": "2026-03-06T00:00:00"}, "expires_at"),
        ({"expires_at": "2026-03-04T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2027-03-05T00:00:00.001Z"}, "expires_at"),
        ({"key": "mine"}, "key"),
    ],
)
async def test_keys_that_cannot_be(admin: httpx.AsyncClient, more: dict[str, object], field: str) -> None:
    workspace = (await admin.get(WORKSPACES)).json()["items"][0]
    body = {"workspace_id": workspace["id"], "name": "app", **more}

    _require_error(await admin.post(KEYS, json=body), 400, "IDGEN-COMMON-0001", field)
    assert (await admin.get(KEYS)).json()["total"] == 2


async def test_an_unknown_scope_is_named(admin: httpx.AsyncClient) -> None:
    workspace = (await admin.get(WORKSPACES)).json()["items"][0]
    body = {"workspace_id": workspace["id"], "name": "app", "scopes": ["lake:drop"]}

    assert "lake:drop" in (await admin.post(KEYS, json=body)).json()["error"]["message"]


async def test_a_key_with_everything_chosen(admin: httpx.AsyncClient, clock: ManualClock) -> None:
    workspace = (await admin.get(WORKSPACES)).json()["items"][0]
    ends = datetime(2026, 5, 1, 8, tzinfo=UTC)
    body = {
        "workspace_id": workspace["id"],
        "name": "app",
        "description": "for the till",
        "role": "user",
        "scopes": ["lake:unmask", "lake:read"],
        "rate_limit": 250,
        "expires_at": (ends + timedelta(hours=8)).isoformat().replace("+00:00", "+08:00"),
    }
    made = (await admin.post(KEYS, json=body)).json()

    assert made["scopes"] == ["lake:read", "lake:unmask"]
    assert (made["rate_limit"], made["description"]) == (250, "for the till")
    assert made["expires_at"] == "2026-05-01T08:00:00.000Z"


async def test_what_is_not_there_and_what_is_there_already(
    admin: httpx.AsyncClient, credentials: Credentials, parts: AuthParts
) -> None:
    workspace = (await admin.get(WORKSPACES)).json()["items"][0]
    mine = (await parts.verifier.check(credentials.admin_key)).key_id

    for answer, status, code in [
        (await admin.post(WORKSPACES, json={"name": "demo"}), 409, "IDGEN-RES-2004"),
        (
            await admin.post(KEYS, json={"workspace_id": workspace["id"], "name": "first"}),
            409,
            "IDGEN-RES-2004",
        ),
        (await admin.post(KEYS, json={"role": "admin", "name": "second"}), 409, "IDGEN-RES-2004"),
        (await admin.post(KEYS, json={"workspace_id": "none", "name": "a"}), 404, "IDGEN-RES-2001"),
        (await admin.delete(f"{KEYS}/none"), 404, "IDGEN-RES-2007"),
        (await admin.delete(f"{KEYS}/{mine}"), 409, "IDGEN-RES-2005"),
        (await admin.get("/api/v1/nothing"), 404, "IDGEN-RES-2007"),
        (await admin.put(KEYS), 405, "IDGEN-COMMON-0001"),
    ]:
        _require_error(answer, status, code)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", WORKSPACES), ("GET", WORKSPACES), ("POST", KEYS), ("GET", KEYS), ("DELETE", KEYS + "/x")],
)
async def test_no_key_and_a_wrong_key(http: httpx.AsyncClient, method: str, path: str) -> None:
    _require_error(await http.request(method, path), 401, "IDGEN-COMMON-0002")
    wrong = {"X-API-Key": new_key_text(None)}
    _require_error(await http.request(method, path, headers=wrong), 401, "IDGEN-AUTH-1003")


async def test_the_other_header_carries_a_key_too(http: httpx.AsyncClient, credentials: Credentials) -> None:
    answer = await http.get(KEYS, headers={"Authorization": f"ApiKey {credentials.admin_key}"})

    assert answer.status_code == 200


async def test_bodies_that_are_no_json(admin: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/json"}
    for body in (b"", b"{", b"\xff", b'{"name": "\\ud800"}', b"[" * 100_000):
        answer = await admin.post(WORKSPACES, content=body, headers=headers)
        _require_error(answer, 400, "IDGEN-COMMON-0001")
    large = await admin.post(WORKSPACES, content=b" " * (1024 * 1024 + 1), headers=headers)
    _require_error(large, 413, "IDGEN-COMMON-0006")


async def test_of_two_equal_workspaces_at_once_one_is_409(admin: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(admin.post(WORKSPACES, json={"name": "shop"}) for _ in range(2)))

    assert sorted(answer.status_code for answer in answers) == [201, 409]
    assert (await admin.get(KEYS)).json()["total"] == 3


async def test_a_broken_database_is_503_and_tells_nothing(
    admin: httpx.AsyncClient, parts: AuthParts, break_database: Callable[[], Awaitable[None]]
) -> None:
    assert (await admin.get(KEYS)).status_code == 200
    assert (await parts.service.health.ready())["ready"] is True
    await break_database()

    for answer in (await admin.get(KEYS), await admin.post(WORKSPACES, json={"name": "shop"})):
        _require_error(answer, 503, "IDGEN-COMMON-0005")
        assert "api_keys" not in answer.text
        assert "sqlite" not in answer.text.lower()


def _require_error(answer: httpx.Response, status: int, code: str, field: str | None = None) -> None:
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert set(error) == {"code", "message", "details", "timestamp", "request_id"}
    if field is not None:
        assert error["message"].startswith(f"{field}")
