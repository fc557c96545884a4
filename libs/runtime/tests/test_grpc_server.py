"""The real gRPC server on a real port, with the public id contract as its service."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from idgen.v1 import idgen_pb2, idgen_pb2_grpc
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.grpc import GrpcServer
from millrace_runtime.health import Health
from millrace_runtime.listen import PortTakenError
from millrace_runtime.logs import request_id

NAME = "idgen.v1.IdService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Ids(idgen_pb2_grpc.IdServiceServicer):
    """Fails in every way by the tag it is asked for."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.let = asyncio.Event()

    async def Generate(self, request: Any, context: Any) -> Any:  # noqa: N802
        match request.biz_tag:
            case "unknown":
                raise ServiceError(ErrorCode.BIZ_TAG_NOT_FOUND, "biz_tag: not found")
            case "broken":
                raise RuntimeError("connection to db-7.internal refused")
            case "own":
                await context.abort(grpc.StatusCode.DATA_LOSS, "its own abort")
            case "slow":
                self.entered.set()
                await self.let.wait()
        return idgen_pb2.GenerateResponse(id=request_id.get())

    async def BatchGenerateStream(self, requests: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        async for request in requests:
            if request.biz_tag == "unknown":
                raise ServiceError(ErrorCode.BIZ_TAG_NOT_FOUND, "biz_tag: not found")
            yield idgen_pb2.BatchGenerateStreamResponse()


@pytest.fixture
def ids() -> Ids:
    return Ids()


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
async def server(ids: Ids, health: Health, free_port: Callable[[], int]) -> AsyncIterator[GrpcServer]:
    made = server_of(ids, health, free_port())
    await made.start()
    yield made
    await made.stop(0)


@pytest.fixture
async def channel(server: GrpcServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as opened:
        yield opened


def server_of(ids: Ids, health: Health, port: int, **options: Any) -> GrpcServer:
    return GrpcServer(
        [lambda server: idgen_pb2_grpc.add_IdServiceServicer_to_server(ids, server)],
        service_names=[NAME],
        host="127.0.0.1",
        port=port,
        health=health,
        **{"reflection": True, **options},
    )


async def generate(channel: grpc.aio.Channel, tag: str, **options: Any) -> Any:
    return await idgen_pb2_grpc.IdServiceStub(channel).Generate(
        idgen_pb2.GenerateRequest(biz_tag=tag), timeout=10, **options
    )


async def failure(channel: grpc.aio.Channel, tag: str) -> tuple[grpc.StatusCode, str, dict[str, Any]]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await generate(channel, tag)
    return caught.value.code(), caught.value.details(), dict(caught.value.trailing_metadata())


async def test_the_request_id_of_the_metadata_is_bound(channel: grpc.aio.Channel) -> None:
    answer = await generate(channel, "order-id", metadata=(("x-request-id", "r-9"),))
    assert answer.id == "r-9"
    assert len((await generate(channel, "order-id")).id) == 36


async def test_a_service_error_becomes_its_status_and_trailer(channel: grpc.aio.Channel) -> None:
    code, details, trailers = await failure(channel, "unknown")
    assert (code, details) == (grpc.StatusCode.NOT_FOUND, "biz_tag: not found")
    assert trailers["idgen-error-code"] == "IDGEN-RES-2003"


async def test_an_unexpected_failure_is_internal_and_reveals_nothing(channel: grpc.aio.Channel) -> None:
    code, details, trailers = await failure(channel, "broken")
    assert code is grpc.StatusCode.INTERNAL
    assert "db-7" not in details
    assert trailers["idgen-error-code"] == "IDGEN-COMMON-0004"
    assert trailers["x-request-id"]


async def test_a_methods_own_abort_passes_unchanged(channel: grpc.aio.Channel) -> None:
    code, details, _ = await failure(channel, "own")
    assert (code, details) == (grpc.StatusCode.DATA_LOSS, "its own abort")


async def test_a_method_that_is_not_written_is_unimplemented(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await idgen_pb2_grpc.IdServiceStub(channel).Parse(idgen_pb2.ParseRequest())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_stream_delivers_what_came_before_its_error(channel: grpc.aio.Channel) -> None:
    async def requests() -> AsyncIterator[Any]:
        for tag in ("order-id", "order-id", "unknown", "order-id"):
            yield idgen_pb2.BatchGenerateStreamRequest(biz_tag=tag)

    call: Any = idgen_pb2_grpc.IdServiceStub(channel).BatchGenerateStream(requests())
    assert await call.read() is not grpc.aio.EOF
    assert await call.read() is not grpc.aio.EOF
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert dict(caught.value.trailing_metadata())["idgen-error-code"] == "IDGEN-RES-2003"


async def test_health_check_follows_the_checks(channel: grpc.aio.Channel, health: Health) -> None:
    stub = health_pb2_grpc.HealthStub(channel)

    async def status(name: str) -> Any:
        return (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status

    assert [await status(""), await status(NAME)] == [SERVING, SERVING]
    health.draining = True
    assert [await status(""), await status(NAME)] == [NOT_SERVING, NOT_SERVING]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await status("idgen.v1.Nothing")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_health_watch_hears_of_a_change_and_ends_with_the_server(
    server: GrpcServer, channel: grpc.aio.Channel
) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=NAME))
    unknown = stub.Watch(health_pb2.HealthCheckRequest(service="idgen.v1.Nothing"))
    assert (await watch.read()).status == SERVING
    assert (await unknown.read()).status == SERVICE_UNKNOWN
    await asyncio.wait_for(server.stop(30), 5)  # an open watch does not use up the grace
    assert (await watch.read()).status == NOT_SERVING
    assert await watch.read() is grpc.aio.EOF


@pytest.mark.parametrize("offered", [True, False])
async def test_reflection_lists_the_services_when_asked_for(
    ids: Ids, health: Health, free_port: Callable[[], int], offered: bool
) -> None:
    port = free_port()
    server = server_of(ids, health, port, reflection=offered)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
            if offered:
                await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
                answer = await call.read()
                names = {service.name for service in answer.list_services_response.service}
                assert {NAME, "grpc.health.v1.Health"} <= names
            else:
                assert await call.code() is grpc.StatusCode.UNIMPLEMENTED
    finally:
        await server.stop(0)


async def test_a_stop_finishes_the_call_in_progress(
    server: GrpcServer, channel: grpc.aio.Channel, ids: Ids
) -> None:
    slow = asyncio.ensure_future(generate(channel, "slow"))
    await ids.entered.wait()
    stopping = asyncio.create_task(server.stop(10))
    await asyncio.sleep(0.05)
    assert not stopping.done()
    ids.let.set()
    assert len((await slow).id) == 36
    await stopping


async def test_a_call_that_outlives_the_grace_is_cut_off(
    server: GrpcServer, channel: grpc.aio.Channel, ids: Ids
) -> None:
    slow = asyncio.ensure_future(generate(channel, "slow"))
    await ids.entered.wait()
    await asyncio.wait_for(server.stop(0.05), 5)
    with pytest.raises(grpc.aio.AioRpcError):
        await slow


async def test_a_taken_port_is_named(ids: Ids, health: Health, server: GrpcServer) -> None:
    with pytest.raises(PortTakenError, match=f"port {server.port} on 127.0.0.1 is taken"):
        await server_of(ids, health, server.port).start()


async def test_messages_up_to_the_limit_pass(ids: Ids, health: Health, free_port: Callable[[], int]) -> None:
    port = free_port()
    server = server_of(ids, health, port, max_message_bytes=100_000)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert (await generate(channel, "x" * 90_000)).id
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await generate(channel, "x" * 110_000)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    finally:
        await server.stop(0)


async def test_the_port_is_not_shared(server: GrpcServer) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", server.port))
