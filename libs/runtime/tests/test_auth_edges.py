"""Keys on their way in: HTTP headers, gRPC metadata, and auth-service asked over the wire."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import grpc
import httpx
import pytest
from fastapi import Depends

from idgen.v1 import idgen_pb2, idgen_pb2_grpc
from millrace.auth.v1 import auth_pb2, auth_pb2_grpc
from millrace_runtime.auth import GrpcVerifier, Principal, api_key_dependency, principal_from_metadata
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.grpc import GrpcServer
from millrace_runtime.http import create_app
from millrace_testkit.clock import ManualClock

HOLDER = Principal("k-1", "demo", "user", frozenset({"id:parse", "lake:read"}), 99, 1000)


class OneKey:
    async def check(self, api_key: str) -> Principal:
        if api_key != "good":
            raise ServiceError(ErrorCode.INVALID_API_KEY, "the API key is not known")
        return HOLDER


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"X-API-Key": "good"}, 200, None),
        ({"Authorization": "ApiKey good"}, 200, None),
        ({"authorization": "apikey  good"}, 200, None),
        ({"X-API-Key": "good", "Authorization": "ApiKey bad"}, 200, None),
        ({}, 401, "IDGEN-COMMON-0002"),
        ({"X-API-Key": ""}, 401, "IDGEN-COMMON-0002"),
        ({"Authorization": "Bearer good"}, 401, "IDGEN-COMMON-0002"),
        ({"X-API-Key": "bad"}, 401, "IDGEN-AUTH-1003"),
    ],
)
async def test_the_http_header(
    clock: ManualClock, headers: dict[str, str], status: int, code: str | None
) -> None:
    app = create_app("demo", "1.0.0", clock=clock)
    caller = api_key_dependency(OneKey())

    @app.get("/who")
    async def who(principal: Annotated[Principal, Depends(caller)]) -> str:
        return principal.key_id

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://demo") as client:
        response = await client.get("/who", headers=headers)
        schema = (await client.get("/api-docs/openapi.json")).json()
    assert response.status_code == status
    assert response.json() == "k-1" if code is None else response.json()["error"]["code"] == code
    assert schema["components"]["securitySchemes"]["APIKeyHeader"]["name"] == "X-API-Key"


class Ids(idgen_pb2_grpc.IdServiceServicer):
    async def Generate(self, request: Any, context: Any) -> Any:  # noqa: N802
        principal = await principal_from_metadata(OneKey(), context)
        return idgen_pb2.GenerateResponse(id=principal.key_id)


@pytest.mark.parametrize(
    ("metadata", "outcome"),
    [
        ((("x-api-key", "good"),), "k-1"),
        ((("x-api-key", "bad"),), grpc.StatusCode.UNAUTHENTICATED),
        ((), grpc.StatusCode.UNAUTHENTICATED),
    ],
)
async def test_the_grpc_metadata(
    free_port: Callable[[], int], metadata: tuple[tuple[str, str], ...], outcome: object
) -> None:
    port = free_port()
    server = server_of(lambda server: idgen_pb2_grpc.add_IdServiceServicer_to_server(Ids(), server), port)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = idgen_pb2_grpc.IdServiceStub(channel)
            got: object
            try:
                got = (await stub.Generate(idgen_pb2.GenerateRequest(), metadata=metadata)).id
            except grpc.aio.AioRpcError as error:
                got = error.code()
            assert got == outcome
    finally:
        await server.stop(0)


class Auth(auth_pb2_grpc.AuthServiceServicer):
    """Answers by the text of the key."""

    async def CheckKey(self, request: Any, context: Any) -> Any:  # noqa: N802
        match request.api_key:
            case "user":
                workspace, role = "demo", auth_pb2.ROLE_USER
            case "admin":
                workspace, role = "", auth_pb2.ROLE_ADMIN
            case "broken":
                raise RuntimeError("boom")
            case "bare":
                await context.abort(grpc.StatusCode.PERMISSION_DENIED)
            case other:
                raise ServiceError(ErrorCode[other], "where it hurts")
        key = auth_pb2.Key(id="k-1", workspace=workspace, role=role, scopes=["id:parse"], expires_at_ms=99)
        return auth_pb2.CheckKeyResponse(key=key)


@pytest.fixture
async def verifier(free_port: Callable[[], int]) -> AsyncIterator[GrpcVerifier]:
    port = free_port()
    server = server_of(lambda server: auth_pb2_grpc.add_AuthServiceServicer_to_server(Auth(), server), port)
    await server.start()
    asking = GrpcVerifier(f"127.0.0.1:{port}")
    yield asking
    await asking.close()
    await server.stop(0)


async def test_auth_service_tells_the_holder(verifier: GrpcVerifier) -> None:
    user = await verifier.check("user")
    assert user == Principal("k-1", "demo", "user", frozenset({"id:parse"}), 99, 1000)
    admin = await verifier.check("admin")
    assert (admin.workspace, admin.role) == (None, "admin")


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("INVALID_API_KEY", ErrorCode.INVALID_API_KEY),
        ("API_KEY_EXPIRED", ErrorCode.API_KEY_EXPIRED),
        ("API_KEY_DISABLED", ErrorCode.API_KEY_DISABLED),
        ("INVALID_REQUEST", ErrorCode.UNAVAILABLE),
        ("UNAVAILABLE", ErrorCode.UNAVAILABLE),
        ("broken", ErrorCode.UNAVAILABLE),
        ("bare", ErrorCode.API_KEY_DISABLED),
    ],
)
async def test_refusals_keep_their_meaning_and_all_else_is_unavailable(
    verifier: GrpcVerifier, key: str, code: ErrorCode
) -> None:
    with pytest.raises(ServiceError) as caught:
        await verifier.check(key)
    assert caught.value.code is code


async def test_an_absent_auth_service_is_503_and_never_401(free_port: Callable[[], int]) -> None:
    verifier = GrpcVerifier(f"127.0.0.1:{free_port()}", timeout_s=0.5)
    with pytest.raises(ServiceError) as caught:
        await verifier.check("user")
    await verifier.close()
    assert caught.value.http_status == 503


def server_of(register: Callable[[grpc.aio.Server], None], port: int) -> GrpcServer:
    return GrpcServer([register], service_names=[], host="127.0.0.1", port=port, reflection=False)
