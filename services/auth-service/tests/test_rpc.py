"""The gRPC door over a loopback port: every method, every refusal."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from auth_service.bootstrap.credentials import Credentials
from auth_service.compose import AuthParts
from auth_service.keys.model import DAY_MS
from auth_service.keys.text import new_key_text
from millrace.auth.v1 import auth_pb2 as pb
from millrace_runtime.errors import ErrorCode
from millrace_testkit.clock import ManualClock

ADMIN_CALLS = {
    "CreateWorkspace": pb.CreateWorkspaceRequest(name="shop"),
    "CreateKey": pb.CreateKeyRequest(workspace="demo", name="app"),
    "RevokeKey": pb.RevokeKeyRequest(id="none"),
    "ListKeys": pb.ListKeysRequest(),
}


@pytest.fixture
def admin(rpc: Any, credentials: Credentials) -> Callable[..., Any]:
    """Call a method with the admin key."""

    def call(method: str, request: Message) -> Any:
        return getattr(rpc, method)(request, metadata=(("x-api-key", credentials.admin_key),))

    return call


@pytest.fixture
def check(rpc: Any) -> Callable[[str], Any]:
    return lambda text: rpc.CheckKey(pb.CheckKeyRequest(api_key=text))


async def test_a_key_is_made_checked_listed_and_revoked(
    admin: Callable[..., Any], check: Callable[[str], Any], clock: ManualClock
) -> None:
    made = await admin("CreateWorkspace", pb.CreateWorkspaceRequest(name="shop", description="a shop"))
    issued = await admin(
        "CreateKey", pb.CreateKeyRequest(workspace="shop", name="till", scopes=["lake:read"])
    )
    assert issued.api_key.startswith("idgen_shop_")
    assert issued.key == pb.Key(
        id=issued.key.id,
        workspace="shop",
        workspace_id=made.workspace.id,
        name="till",
        prefix=issued.api_key[:16],
        role=pb.ROLE_USER,
        scopes=["lake:read"],
        state=pb.KEY_STATE_ACTIVE,
        created_at_ms=clock.now_ms(),
        expires_at_ms=clock.now_ms() + 30 * DAY_MS,
    )

    assert (await check(issued.api_key)).key == issued.key
    assert list((await admin("ListKeys", pb.ListKeysRequest(workspace="shop"))).keys) == [issued.key]
    assert len((await admin("ListKeys", pb.ListKeysRequest())).keys) == 3

    clock.advance(1)
    revoked = await admin("RevokeKey", pb.RevokeKeyRequest(id=issued.key.id))
    assert revoked.key.state == pb.KEY_STATE_REVOKED
    assert await _refusal(check(issued.api_key)) == ("PERMISSION_DENIED", ErrorCode.API_KEY_DISABLED)
    again = await admin("RevokeKey", pb.RevokeKeyRequest(id=issued.key.id))
    assert again == revoked
    assert list((await admin("ListKeys", pb.ListKeysRequest(workspace="shop"))).keys) == [revoked.key]


async def test_the_admin_key_is_of_no_workspace(
    check: Callable[[str], Any], credentials: Credentials
) -> None:
    key = (await check(credentials.admin_key)).key

    assert (key.workspace, key.workspace_id, key.role) == ("", "", pb.ROLE_ADMIN)


@pytest.mark.parametrize(
    "text",
    ["", "no key", "idgen_demo_" + "a" * 32, pytest.param(new_key_text(None), id="a key that nobody has")],
)
async def test_an_unknown_key(check: Callable[[str], Any], text: str) -> None:
    assert await _refusal(check(text)) == ("UNAUTHENTICATED", ErrorCode.INVALID_API_KEY)


async def test_an_expired_key_also_out_of_the_cache(
    admin: Callable[..., Any], check: Callable[[str], Any], clock: ManualClock
) -> None:
    ends = clock.now_ms() + 60_000
    request = pb.CreateKeyRequest(workspace="demo", name="short", expires_at_ms=ends)
    text = (await admin("CreateKey", request)).api_key
    clock.advance(59.999)
    assert (await check(text)).key.expires_at_ms == ends

    clock.advance(0.001)
    assert await _refusal(check(text)) == ("PERMISSION_DENIED", ErrorCode.API_KEY_EXPIRED)
    clock.advance(301)
    assert await _refusal(check(text)) == ("PERMISSION_DENIED", ErrorCode.API_KEY_EXPIRED)


@pytest.mark.parametrize("method", ADMIN_CALLS)
async def test_managing_needs_the_admin_key(rpc: Any, credentials: Credentials, method: str) -> None:
    call, request = getattr(rpc, method), ADMIN_CALLS[method]

    for key, refusal in [
        ("", ("UNAUTHENTICATED", ErrorCode.UNAUTHORIZED)),
        (new_key_text(None), ("UNAUTHENTICATED", ErrorCode.INVALID_API_KEY)),
        (credentials.user_key, ("PERMISSION_DENIED", ErrorCode.FORBIDDEN)),
    ]:
        assert await _refusal(call(request, metadata=(("x-api-key", key),))) == refusal
    assert await _refusal(call(request)) == ("UNAUTHENTICATED", ErrorCode.UNAUTHORIZED)


@pytest.mark.parametrize(
    ("method", "request_", "code"),
    [
        ("CreateWorkspace", pb.CreateWorkspaceRequest(), ErrorCode.INVALID_REQUEST),
        ("CreateWorkspace", pb.CreateWorkspaceRequest(name="global"), ErrorCode.INVALID_REQUEST),
        ("CreateWorkspace", pb.CreateWorkspaceRequest(name="demo"), ErrorCode.ALREADY_EXISTS),
        ("CreateKey", pb.CreateKeyRequest(workspace="demo"), ErrorCode.INVALID_REQUEST),
        ("CreateKey", pb.CreateKeyRequest(workspace="demo", name="a", scopes=["x"]), ErrorCode.INVALID_REQUEST),
        ("CreateKey", pb.CreateKeyRequest(workspace="demo", name="a", expires_at_ms=1), ErrorCode.INVALID_REQUEST),
        ("CreateKey", pb.CreateKeyRequest(workspace="none", name="a"), ErrorCode.WORKSPACE_NOT_FOUND),
        ("CreateKey", pb.CreateKeyRequest(workspace="demo", name="first"), ErrorCode.ALREADY_EXISTS),
        ("CreateKey", pb.CreateKeyRequest(name="second-admin"), ErrorCode.ALREADY_EXISTS),
        ("RevokeKey", pb.RevokeKeyRequest(id="none"), ErrorCode.NOT_FOUND),
        ("ListKeys", pb.ListKeysRequest(workspace="none"), ErrorCode.WORKSPACE_NOT_FOUND),
    ],
)  # fmt: skip
async def test_refusals(admin: Callable[..., Any], method: str, request_: Message, code: ErrorCode) -> None:
    assert await _refusal(admin(method, request_)) == (code.grpc, code)
    assert len((await admin("ListKeys", pb.ListKeysRequest())).keys) == 2


async def test_the_last_admin_key_stays(
    admin: Callable[..., Any], check: Callable[[str], Any], credentials: Credentials
) -> None:
    key = (await check(credentials.admin_key)).key

    refusal = await _refusal(admin("RevokeKey", pb.RevokeKeyRequest(id=key.id)))
    assert refusal == ("FAILED_PRECONDITION", ErrorCode.QUOTA_EXCEEDED)
    assert (await check(credentials.admin_key)).key.state == pb.KEY_STATE_ACTIVE


async def test_of_eight_equal_workspaces_at_once_one_is_made(admin: Callable[..., Any]) -> None:
    request = pb.CreateWorkspaceRequest(name="shop")
    answers = await asyncio.gather(
        *(admin("CreateWorkspace", request) for _ in range(8)), return_exceptions=True
    )

    refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert [error.code().name for error in refused] == ["ALREADY_EXISTS"] * 7


async def test_of_two_equal_keys_at_once_one_is_made(admin: Callable[..., Any]) -> None:
    request = pb.CreateKeyRequest(workspace="demo", name="app")
    answers = await asyncio.gather(*(admin("CreateKey", request) for _ in range(2)), return_exceptions=True)

    assert sorted(isinstance(answer, grpc.aio.AioRpcError) for answer in answers) == [False, True]


async def test_without_a_database_cached_keys_work_and_others_are_503_never_401(
    admin: Callable[..., Any],
    check: Callable[[str], Any],
    credentials: Credentials,
    parts: AuthParts,
    break_database: Callable[[], Awaitable[None]],
) -> None:
    await check(credentials.user_key)
    await admin("ListKeys", pb.ListKeysRequest())
    await break_database()

    assert (await check(credentials.user_key)).key.workspace == "demo"
    assert await _refusal(check(new_key_text("demo"))) == ("UNAVAILABLE", ErrorCode.UNAVAILABLE)
    assert await _refusal(admin("ListKeys", pb.ListKeysRequest())) == ("UNAVAILABLE", ErrorCode.UNAVAILABLE)


async def test_checks_are_counted(
    check: Callable[[str], Any], credentials: Credentials, parts: AuthParts
) -> None:
    await check(credentials.user_key)
    await check(credentials.user_key)
    await _refusal(check("no key"))

    count = parts.service.registry.get_sample_value
    assert count("millrace_auth_key_checks_total", {"result": "ok"}) == 2
    assert count("millrace_auth_key_checks_total", {"result": "invalid_api_key"}) == 1


async def _refusal(call: Any) -> tuple[str, ErrorCode | None]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    trailers: Any = refused.value.trailing_metadata()
    return refused.value.code().name, ErrorCode.of(dict(trailers)["idgen-error-code"])
