"""Keys that one service checks at another: revoked ones are refused within 5 s, and outages are survived (ID-58, 59).

Each service is a process of its own; two auth-services share a PostgreSQL database, as on a cluster.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import httpx
import msgspec
import pytest

from millrace import AsyncClient
from millrace.errors import ForbiddenError, MillraceError, UnauthenticatedError, UnavailableError
from millrace.installation import Installation
from millrace_runtime.auth.remote import KEY_TTL_S
from millrace_testkit.real import RealStack
from millrace_testkit.real_mode import RealInstallation
from millrace_testkit.stack import Process, Stack

pytestmark = [pytest.mark.real, pytest.mark.faults, pytest.mark.slow]

OBEYED_WITHIN_S = 5.0
HEALS_WITHIN_S = 60.0
LOOK_EVERY_S = 0.05
DAY = "2026-01-01"

OK, REFUSED, UNAVAILABLE, UNKNOWN = "ok", "refused", "unavailable", "unknown"


@dataclass
class Services:
    """id-service asks one auth-service, query-service the other."""

    stack: RealInstallation
    auth: Process
    other_auth: Process
    ids: Process
    query: Process

    def _admin(self, method: str, path: str, **more: object) -> httpx.Response:
        key = msgspec.json.decode(self.stack.credentials.read_bytes())["admin_key"]
        url = f"http://127.0.0.1:{self.auth.endpoint.http_port}/api/v1/{path}"
        answer = httpx.request(method, url, headers={"X-API-Key": key}, trust_env=False, timeout=30, **more)  # type: ignore[arg-type]
        answer.raise_for_status()
        return answer

    def new_key(self, name: str) -> tuple[str, str]:
        """Id and text of a key that may draw ids and read the lake."""
        workspace = self._admin("GET", "workspaces").json()["items"][0]["id"]
        scopes = ["id:generate", "lake:read"]
        body = {"name": name, "workspace_id": workspace, "scopes": scopes}
        made = self._admin("POST", "api-keys", json=body).json()
        return made["id"], made["api_key"]

    def revoke(self, key_id: str) -> None:
        """Returns when auth-service has answered."""
        self._admin("DELETE", f"api-keys/{key_id}")

    def kill_auth(self) -> None:
        """Both."""
        self.auth.kill()
        self.other_auth.kill()

    def start_auth(self) -> None:
        """Both again, where the others look for them."""
        self.other_auth = self.stack.auth(PORT_OFFSET=str(self.other_auth.offset), CREDENTIALS_FILE="")
        self.auth = self.stack.auth(PORT_OFFSET=str(self.auth.offset))


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory, real_stack: RealStack) -> Iterator[Services]:
    with Stack.real(tmp_path_factory.mktemp("keys"), real_stack) as stack:
        auth = stack.auth().wait_ready()
        query = stack.query()
        other = stack.auth(CREDENTIALS_FILE="")
        found = Services(stack, auth, other, stack.ids(), query)
        for process in (other, found.ids, query):
            process.wait_ready()
        yield found


Door = Callable[[str], Awaitable[str]]


def doors(services: Services) -> dict[str, Door]:
    """By each of these a key is used once; they tell what became of it."""

    async def by_http(method: str, url: str, key: str, **more: object) -> str:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            answer = await client.request(method, url, headers={"X-API-Key": key}, **more)  # type: ignore[arg-type]
        if answer.status_code == 200:
            return OK
        code = answer.json()["error"]["code"]
        return {
            (401, "IDGEN-AUTH-1005"): REFUSED,
            (401, "IDGEN-AUTH-1003"): UNKNOWN,
            (503, "IDGEN-COMMON-0005"): UNAVAILABLE,
        }[answer.status_code, code]

    async def by_grpc(process: Process, key: str, call: Callable[[AsyncClient], Awaitable[object]]) -> str:
        installation = Installation(port_offset=process.offset, api_key=key)
        async with AsyncClient(installation=installation) as client:
            try:
                await call(client)
            except MillraceError as error:
                return {
                    (ForbiddenError, "IDGEN-AUTH-1005"): REFUSED,
                    (UnauthenticatedError, "IDGEN-AUTH-1003"): UNKNOWN,
                    (UnavailableError, "IDGEN-COMMON-0005"): UNAVAILABLE,
                }[type(error), str(error.code)]
        return OK

    ids = f"http://127.0.0.1:{services.ids.endpoint.http_port}/api/v1/generate"
    messages = f"http://127.0.0.1:{services.query.endpoint.http_port}/api/v1/messages"
    tag = {"workspace": "demo", "group": "default", "biz_tag": "order-id"}
    return {
        "id-service, HTTP": lambda key: by_http("POST", ids, key, json=tag),
        "query-service, HTTP": lambda key: by_http("GET", messages, key, params={"start": DAY, "end": DAY}),
        "id-service, gRPC": lambda key: by_grpc(
            services.ids, key, lambda client: client.generate("order-id", workspace="demo")
        ),
        "query-service, gRPC": lambda key: by_grpc(
            services.query, key, lambda client: client.count(DAY, DAY)
        ),
    }


def used(services: Services, key: str) -> dict[str, str]:
    """The key used at every door at once."""

    async def use() -> dict[str, str]:
        found = doors(services)
        return dict(zip(found, await asyncio.gather(*(door(key) for door in found.values())), strict=True))

    return asyncio.run(use())


def everywhere(outcome: str) -> dict[str, str]:
    return dict.fromkeys(
        ("id-service, HTTP", "query-service, HTTP", "id-service, gRPC", "query-service, gRPC"), outcome
    )


def require_obeyed(services: Services, key_id: str, key: str) -> float:
    """Revoke the key while it is in use; seconds after which every door refused who came then."""
    services.revoke(key_id)
    revoked = time.monotonic()
    while True:
        begun_s = time.monotonic() - revoked
        if (outcome := used(services, key)) == everywhere(REFUSED):
            return begun_s
        assert set(outcome.values()) <= {OK, REFUSED}
        assert begun_s < OBEYED_WITHIN_S, outcome
        time.sleep(LOOK_EVERY_S)


def test_a_revoked_key_is_refused_at_every_door_within_5_s(services: Services) -> None:
    key_id, key = services.new_key("revoked")
    assert used(services, "idgen_demo_" + "x" * 32) == everywhere(UNKNOWN)
    assert used(services, key) == everywhere(OK)
    time.sleep(1.0)  # so that the caches are of different ages

    took_s = require_obeyed(services, key_id, key)
    print(f"\nrefused at every door {took_s:.1f} s after the revocation")
    assert used(services, key) == everywhere(REFUSED)


def test_without_auth_service_known_keys_go_on_others_are_503_and_it_heals_by_itself(
    services: Services,
) -> None:
    known_id, known = services.new_key("known")
    _, fresh = services.new_key("fresh")
    assert used(services, known) == everywhere(OK)

    services.kill_auth()
    away = time.monotonic()
    while time.monotonic() - away < KEY_TTL_S + 1.0:  # beyond it they would have to be asked about again
        assert used(services, known) == everywhere(OK)
        time.sleep(4 * LOOK_EVERY_S)
    assert used(services, fresh) == everywhere(UNAVAILABLE)
    assert used(services, known) == everywhere(OK)
    assert services.ids.ready()
    assert services.query.ready()

    services.start_auth()
    back = time.monotonic()
    while used(services, fresh) != everywhere(OK):
        assert time.monotonic() - back < HEALS_WITHIN_S
        time.sleep(LOOK_EVERY_S)
    services.auth.wait_ready()
    require_obeyed(services, known_id, known)
