"""The server of the database stops and stands still: what is cached works on, the rest says so and heals."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from auth_service.bootstrap.credentials import Credentials, read_credentials
from auth_service.compose import AuthParts
from auth_service.keys.elsewhere import LOOK_EVERY_S
from auth_service.keys.text import new_key_text
from millrace_relational import DatabaseUrl
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_testkit.proxy import Proxy
from millrace_testkit.real.postgresql import PostgresqlServer
from millrace_testkit.relational import new_schema
from millrace_testkit.waiting import until

pytestmark = [pytest.mark.real, pytest.mark.faults, pytest.mark.timeout(120)]

HEALED_WITHIN_S = 30.0
OBEYED_WITHIN_S = 5.0
WORKSPACES = "/api/v1/workspaces"


@pytest.fixture
async def url(real_postgresql: PostgresqlServer) -> DatabaseUrl:
    """On the server only."""
    return DatabaseUrl.parse(await new_schema(real_postgresql.url))


@pytest.mark.parametrize("away", ["stop", "pause"])
async def test_without_the_server(
    real_postgresql: PostgresqlServer,
    parts: AuthParts,
    credentials: Credentials,
    admin: httpx.AsyncClient,
    away: str,
) -> None:
    back: Callable[[], Any] = real_postgresql.start if away == "stop" else real_postgresql.resume
    await parts.verifier.check(credentials.user_key)
    assert (await admin.get(WORKSPACES)).status_code == 200
    await asyncio.to_thread(getattr(real_postgresql, away))
    try:
        holder = await parts.verifier.check(credentials.user_key)
        with pytest.raises(ServiceError) as unknown:
            await parts.verifier.check(new_key_text("demo"))
        refused = await admin.post(WORKSPACES, json={"name": "shop"})
        report = await parts.service.health.ready()
    finally:
        await asyncio.to_thread(back)

    assert holder.workspace == "demo"
    assert unknown.value.code is ErrorCode.UNAVAILABLE
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "IDGEN-COMMON-0005")
    assert report["failing"] == ["database"]

    async def works() -> bool:
        made = await admin.post(WORKSPACES, json={"name": "shop"})
        return made.status_code in (201, 409) and bool((await parts.service.health.ready())["ready"])

    await until(works, HEALED_WITHIN_S, "workspaces made again")


async def test_a_key_that_another_process_revoked_is_refused_soon_also_after_an_outage(
    real_postgresql: PostgresqlServer, url: DatabaseUrl, start: Callable[..., Any], data: Any
) -> None:
    """The clock of both caches stands still, so that nothing in them ends by itself."""
    with Proxy(real_postgresql.port) as wire:
        near, far = url, DatabaseUrl(url.url.set(port=wire.port), url.parameters)
        async with (
            start(auth_database_url=near) as here,
            start(auth_database_url=far, credentials_file=None) as there,
        ):
            found = read_credentials(data / "credentials.json")
            assert found is not None
            http = httpx.AsyncClient(
                transport=httpx.ASGITransport(app=here.service.http),
                base_url="http://auth",
                headers={"X-API-Key": found.admin_key},
            )

            async def revoke(name: str) -> Callable[[], Any]:
                """Make a key that both know, and revoke it here; whether it is refused there."""
                workspace = (await http.get(WORKSPACES)).json()["items"][0]["id"]
                made = await http.post("/api/v1/api-keys", json={"name": name, "workspace_id": workspace})
                key = made.json()
                await there.verifier.check(key["api_key"])
                if name == "cut off":
                    wire.cut()
                assert (await http.delete(f"/api/v1/api-keys/{key['id']}")).status_code == 200

                async def refused() -> bool:
                    try:
                        await there.verifier.check(key["api_key"])
                    except ServiceError as error:
                        return error.code is ErrorCode.API_KEY_DISABLED
                    return False

                return refused

            async with http:
                await until(await revoke("seen"), OBEYED_WITHIN_S, "refused by the other process")
                refused = await revoke("cut off")
                await asyncio.sleep(3 * LOOK_EVERY_S)  # it looks and learns nothing
                assert not await refused()
                wire.restore()
                await until(refused, HEALED_WITHIN_S, "refused after the outage")


async def test_two_first_starts_on_two_hosts_agree_on_one_admin_key(
    url: DatabaseUrl, start: Callable[..., Any], data: Any
) -> None:
    """Each with a credentials file of its own: the keys are in the file of the one that was first."""

    async def once(host: str) -> str:
        async with start(credentials_file=data / host / "credentials.json") as parts:
            return str(parts.bootstrap.outcome.value)

    assert sorted(await asyncio.gather(once("a"), once("b"))) == ["created", "stale"]
