"""Sampled calls and requests become spans, by gRPC and HTTP; their trace goes on to the next service."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import httpx
import pytest
from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from idgen.v1 import idgen_pb2, idgen_pb2_grpc
from millrace.auth.v1 import auth_pb2, auth_pb2_grpc
from millrace_runtime.auth import GrpcVerifier, principal_from_metadata
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.http import create_app
from millrace_runtime.service import Endpoint, Service, serving
from millrace_runtime.tracing import current
from millrace_testkit.clock import ManualClock
from millrace_testkit.otlp import OtlpReceiver, SpanSeen

from .conftest import CALLER, SAMPLED, TRACE, UNSAMPLED, Exporting

KEY = "mk_secret_0123456789"


class Ids(idgen_pb2_grpc.IdServiceServicer):
    """Tells whether it is traced; fails by the tag it is asked for."""

    async def Generate(self, request: Any, context: Any) -> Any:  # noqa: N802
        match request.biz_tag:
            case "unknown":
                raise ServiceError(ErrorCode.BIZ_TAG_NOT_FOUND, "biz_tag: not found")
            case "down":
                raise ServiceError(ErrorCode.UNAVAILABLE, "the database at db-7 is away")
            case "broken":
                raise RuntimeError("connection to db-7.internal refused")
            case "own":
                await context.abort(grpc.StatusCode.DATA_LOSS, "its own abort")
        return idgen_pb2.GenerateResponse(id="traced" if current.get() else "plain")

    async def BatchGenerateStream(self, requests: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        async for request in requests:
            if request.biz_tag == "unknown":
                raise ServiceError(ErrorCode.BIZ_TAG_NOT_FOUND, "biz_tag: not found")
            yield idgen_pb2.BatchGenerateStreamResponse()


class Auth(auth_pb2_grpc.AuthServiceServicer):
    async def CheckKey(self, request: Any, context: Any) -> Any:  # noqa: N802
        return auth_pb2.CheckKeyResponse(key=auth_pb2.Key(id="k-1", role=auth_pb2.ROLE_USER))


class Keyed(idgen_pb2_grpc.IdServiceServicer):
    """Has its keys checked by auth-service."""

    def __init__(self, verifier: GrpcVerifier) -> None:
        self._verifier = verifier

    async def Generate(self, request: Any, context: Any) -> Any:  # noqa: N802
        await principal_from_metadata(self._verifier, context)
        return idgen_pb2.GenerateResponse()


@asynccontextmanager
async def served(
    name: str, servicer: Any, free_port: Callable[[], int], register: Any = None
) -> AsyncIterator[str]:
    """The address of a service that offers this servicer."""
    register = register or idgen_pb2_grpc.add_IdServiceServicer_to_server
    endpoint = Endpoint("127.0.0.1", free_port(), free_port(), free_port())
    service = Service(name, grpc=[lambda server: register(servicer, server)])
    async with serving(service, endpoint, reflection=False):
        yield f"127.0.0.1:{endpoint.grpc_port}"


async def generate(address: str, tag: str = "", *metadata: tuple[str, str]) -> Any:
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = idgen_pb2_grpc.IdServiceStub(channel)
        return await stub.Generate(idgen_pb2.GenerateRequest(biz_tag=tag), metadata=metadata, timeout=10)


def one(receiver: OtlpReceiver) -> SpanSeen:
    [span] = receiver.spans
    return span


async def test_a_sampled_call_is_a_span_of_its_caller_and_no_other_is_one(
    exports: Exporting, receiver: OtlpReceiver, free_port: Callable[[], int]
) -> None:
    async with exports(), served("id-service", Ids(), free_port) as address:
        assert (await generate(address)).id == "plain"
        assert (await generate(address, "", ("traceparent", UNSAMPLED))).id == "plain"
        metadata = (("x-api-key", KEY), ("traceparent", SAMPLED), ("x-request-id", "r-1"))
        assert (await generate(address, "", *metadata)).id == "traced"
    span = one(receiver)
    assert (span.service, span.name, span.kind) == ("id-service", "idgen.v1.IdService/Generate", "server")
    assert (span.trace, span.parent, span.failed) == (TRACE, CALLER, False)
    assert span.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": "idgen.v1.IdService/Generate",
        "rpc.response.status_code": "OK",
    }
    assert KEY.encode() not in span.raw


@pytest.mark.parametrize(
    ("tag", "status", "failed"),
    [
        ("unknown", "NOT_FOUND", False),
        ("down", "UNAVAILABLE", True),
        ("broken", None, True),
        ("own", "DATA_LOSS", False),
    ],
)
async def test_a_span_tells_how_its_call_ended_and_nothing_of_our_inside(
    exports: Exporting,
    receiver: OtlpReceiver,
    free_port: Callable[[], int],
    tag: str,
    status: str | None,
    failed: bool,
) -> None:
    async with exports(), served("id-service", Ids(), free_port) as address:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await generate(address, tag, ("traceparent", SAMPLED))
        assert caught.value.code().name == (status or "INTERNAL")
    span = one(receiver)
    assert (span.attributes.get("rpc.response.status_code"), span.failed) == (status, failed)
    assert b"db-7" not in span.raw


@pytest.mark.parametrize(("tag", "status"), [("", "OK"), ("unknown", "NOT_FOUND")])
async def test_a_stream_is_one_span(
    exports: Exporting, receiver: OtlpReceiver, free_port: Callable[[], int], tag: str, status: str
) -> None:
    async def requests() -> AsyncIterator[Any]:
        for wanted in ("", tag):
            yield idgen_pb2.BatchGenerateStreamRequest(biz_tag=wanted)

    async with (
        exports(),
        served("id-service", Ids(), free_port) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        stub: Any = idgen_pb2_grpc.IdServiceStub(channel)
        for metadata in ((("traceparent", SAMPLED),), ()):
            call = stub.BatchGenerateStream(requests(), metadata=metadata, timeout=10)
            with suppress(grpc.aio.AioRpcError):
                assert len([answer async for answer in call]) == 2
            assert await call.code() is grpc.StatusCode[status]
    assert one(receiver).attributes["rpc.response.status_code"] == status


async def test_a_key_check_goes_on_in_the_trace_of_the_call(
    exports: Exporting, receiver: OtlpReceiver, free_port: Callable[[], int]
) -> None:
    register = auth_pb2_grpc.add_AuthServiceServicer_to_server
    async with exports(), served("auth-service", Auth(), free_port, register) as auth:
        verifier = GrpcVerifier(auth)
        async with served("id-service", Keyed(verifier), free_port) as address:
            await generate(address, "", ("x-api-key", KEY))
            await generate(address, "", ("x-api-key", KEY), ("traceparent", SAMPLED))
        await verifier.close()
    by_service = {span.service: span for span in receiver.spans}
    assert len(receiver.spans) == 2
    assert by_service["id-service"].parent == CALLER
    assert by_service["auth-service"].parent == by_service["id-service"].id
    assert by_service["auth-service"].name == "millrace.auth.v1.AuthService/CheckKey"
    assert {span.trace for span in receiver.spans} == {TRACE}
    assert not any(KEY.encode() in span.raw for span in receiver.spans)


async def test_two_calls_at_once_do_not_mix(
    exports: Exporting, receiver: OtlpReceiver, free_port: Callable[[], int]
) -> None:
    async with exports(), served("id-service", Ids(), free_port) as address:
        sampled = [("traceparent", SAMPLED)]
        answers = await asyncio.gather(
            *(generate(address, "", *(sampled if number % 2 else [])) for number in range(20))
        )
    assert [answer.id for answer in answers] == ["plain", "traced"] * 10
    assert len(receiver.spans) == 10


@pytest.fixture
async def http(exports: Exporting, clock: ManualClock) -> AsyncIterator[httpx.AsyncClient]:
    async with exports():
        app = create_app("demo", "1.0.0", clock=clock)
        router = APIRouter(prefix="/api/v1")

        @router.get("/people/{name}")
        async def person(name: str) -> str:
            if name == "broken":
                raise RuntimeError("db-7.internal")
            return "traced" if current.get() else "plain"

        @router.get("/stream")
        async def stream() -> StreamingResponse:
            async def parts() -> AsyncIterator[bytes]:
                yield b"a"
                assert current.get() is not None
                yield b"b"

            return StreamingResponse(parts())

        app.include_router(router)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://demo") as client:
            yield client


@pytest.mark.parametrize(
    ("method", "path", "status", "name", "failed"),
    [
        ("GET", "/api/v1/people/alice?token=hunter2", 200, "GET /api/v1/people/{name}", False),
        ("GET", "/api/v1/people/broken", 500, "GET /api/v1/people/{name}", True),
        ("GET", "/api/v1/stream", 200, "GET /api/v1/stream", False),
        ("GET", "/nowhere/alice", 404, "GET", False),
        ("BREW", "/api/v1/people/alice", 405, "HTTP", False),
    ],
)
async def test_a_sampled_request_is_a_span_by_its_route(
    http: httpx.AsyncClient,
    receiver: OtlpReceiver,
    method: str,
    path: str,
    status: int,
    name: str,
    failed: bool,
) -> None:
    plain = await http.request(method, path.replace("stream", "people/x"), headers={"traceparent": UNSAMPLED})
    assert "traced" not in plain.text
    headers = {"traceparent": SAMPLED, "X-API-Key": KEY}
    answer = await http.request(method, path, headers=headers)
    assert answer.status_code == status
    await asyncio.to_thread(receiver.wait_for, lambda seen: seen.spans, "the span")
    span = one(receiver)
    assert (span.service, span.kind, span.trace, span.parent) == ("demo", "server", TRACE, CALLER)
    assert (span.name.partition(" /api")[0], span.failed) == (name.partition(" /api")[0], failed)
    assert span.attributes["http.response.status_code"] == status
    if status != 405:
        assert span.name == name
    for secret in (b"alice", b"hunter2", b"db-7", KEY.encode()):
        assert secret not in span.raw
