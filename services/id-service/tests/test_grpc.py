"""The gRPC API over loopback (ID-55, ID-56), and leased blocks."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from id_service.compose import compose
from id_service.settings import IdSettings
from idgen.v1 import idgen_pb2, idgen_pb2_grpc
from millrace.id.v1 import id_pb2, id_pb2_grpc
from millrace_relational import DatabaseUrl

FIRST = 1_000_000_000_000
TAG = {"workspace": "acme", "group": "shop", "biz_tag": "order-id"}
EVENT = {**TAG, "biz_tag": "event-id"}
KEY = (("x-api-key", "user-key"),)


@pytest.fixture
def empty(tmp_path: Path) -> DatabaseUrl:
    """Which database it is cannot be seen from here."""
    return DatabaseUrl.parse(f"sqlite+aiosqlite:///{tmp_path}/ids.db")


@pytest.fixture
async def channel(served: Any) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(served.grpc_address) as channel:
        yield channel


@pytest.fixture
def ids(channel: grpc.aio.Channel) -> Any:
    return idgen_pb2_grpc.IdServiceStub(channel)


@pytest.fixture
def blocks(channel: grpc.aio.Channel) -> Any:
    return id_pb2_grpc.IdBlockServiceStub(channel)


async def refusal(call: Any) -> tuple[str, str]:
    """Status and error code string of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return status_of(error.value)


def status_of(error: grpc.aio.AioRpcError) -> tuple[str, str]:
    trailers: Any = error.trailing_metadata()
    return error.code().name, dict(trailers)["idgen-error-code"]


async def test_generate_and_batch_continue_each_other(ids: Any, clock: Any) -> None:
    one = await ids.Generate(idgen_pb2.GenerateRequest(**TAG), metadata=KEY)
    batch = await ids.BatchGenerate(idgen_pb2.BatchGenerateRequest(**TAG, size=30), metadata=KEY)

    assert (one.id, one.algorithm, one.timestamp) == (str(FIRST), "segment", clock.now_ms())
    assert (one.sequence, one.worker_id, one.datacenter_id) == (0, 0, 0)
    assert list(batch.ids) == [str(FIRST + offset) for offset in range(1, 31)]
    assert (batch.count, batch.algorithm) == (30, "segment")


async def test_uuids(ids: Any) -> None:
    request = idgen_pb2.BatchGenerateRequest(**EVENT, size=50, algorithm="uuidv7")
    batch = await ids.BatchGenerate(request, metadata=KEY)
    assert batch.algorithm == "uuid_v7"
    assert list(batch.ids) == sorted(set(batch.ids))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"size": 0}, ("INVALID_ARGUMENT", "IDGEN-COMMON-0001")),
        ({"size": 101}, ("INVALID_ARGUMENT", "IDGEN-COMMON-0001")),
        ({"size": 4_294_967_295}, ("INVALID_ARGUMENT", "IDGEN-COMMON-0001")),
        ({"workspace": ""}, ("INVALID_ARGUMENT", "IDGEN-COMMON-0001")),
        ({"group": "a/b"}, ("INVALID_ARGUMENT", "IDGEN-COMMON-0001")),
        ({"biz_tag": "a" * 65}, ("INVALID_ARGUMENT", "IDGEN-COMMON-0001")),
        ({"algorithm": "dice"}, ("INVALID_ARGUMENT", "IDGEN-COMMON-0001")),
        ({"algorithm": "uuid_v7"}, ("INVALID_ARGUMENT", "IDGEN-COMMON-0001")),
        ({"workspace": "rival"}, ("PERMISSION_DENIED", "IDGEN-AUTH-1002")),
        ({"group": "none"}, ("NOT_FOUND", "IDGEN-RES-2002")),
        ({"biz_tag": "none"}, ("NOT_FOUND", "IDGEN-RES-2003")),
    ],
)
async def test_wrong_batches(ids: Any, changed: dict[str, Any], expected: tuple[str, str]) -> None:
    request = idgen_pb2.BatchGenerateRequest(**{**TAG, "size": 1, **changed})
    assert await refusal(ids.BatchGenerate(request, metadata=KEY)) == expected


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ((), ("UNAUTHENTICATED", "IDGEN-COMMON-0002")),
        ((("x-api-key", "wrong"),), ("UNAUTHENTICATED", "IDGEN-AUTH-1003")),
        ((("x-api-key", "admin-key"),), ("PERMISSION_DENIED", "IDGEN-AUTH-1002")),
        ((("x-api-key", "parse-key"),), ("PERMISSION_DENIED", "IDGEN-AUTH-1002")),
        ((("x-api-key", "other-key"),), ("PERMISSION_DENIED", "IDGEN-AUTH-1002")),
    ],
)
async def test_who_may_not_draw(
    ids: Any, blocks: Any, metadata: tuple[tuple[str, str], ...], expected: tuple[str, str]
) -> None:
    generate = ids.Generate(idgen_pb2.GenerateRequest(**TAG), metadata=metadata)
    lease = blocks.LeaseBlock(id_pb2.LeaseBlockRequest(**TAG, size=1), metadata=metadata)
    assert await refusal(generate) == expected
    assert await refusal(lease) == expected


async def test_parse(ids: Any) -> None:
    snowflake = await ids.Parse(idgen_pb2.ParseRequest(id="132452764877603845"), metadata=KEY)
    assert snowflake == idgen_pb2.ParseResponse(
        id="132452764877603845",
        numeric_value="132452764877603845",
        algorithm="snowflake",
        timestamp=1767225600000,
        datacenter_id=3,
        worker_id=17,
        sequence=5,
    )
    segment = await ids.Parse(idgen_pb2.ParseRequest(id="1999999999999", **TAG), metadata=KEY)
    assert (segment.algorithm, segment.timestamp, segment.biz_tag) == ("segment", 0, "order-id")
    assert await refusal(ids.Parse(idgen_pb2.ParseRequest(id="x"), metadata=KEY)) == (
        "INVALID_ARGUMENT", "IDGEN-COMMON-0001"
    )  # fmt: skip
    half = idgen_pb2.ParseRequest(id="1999999999999", workspace="acme")
    assert (await refusal(ids.Parse(half, metadata=KEY)))[0] == "INVALID_ARGUMENT"


async def test_a_stream_answers_each_request_in_order(ids: Any) -> None:
    sizes = [1, 25, 3]
    requests = (idgen_pb2.BatchGenerateStreamRequest(**TAG, size=size) for size in sizes)
    answers = [answer async for answer in ids.BatchGenerateStream(requests, metadata=KEY)]

    assert [answer.request_index for answer in answers] == [0, 1, 2]
    assert [len(answer.ids) for answer in answers] == sizes
    drawn = [int(text) for answer in answers for text in answer.ids]
    assert drawn == list(range(FIRST, FIRST + 29))


async def test_a_refused_request_ends_the_stream_after_the_earlier_answers(ids: Any) -> None:
    requests = [idgen_pb2.BatchGenerateStreamRequest(**TAG, size=size) for size in (2, 2, 0, 2)]
    received: list[str] = []

    async def receive() -> None:
        async for answer in ids.BatchGenerateStream(iter(requests), metadata=KEY):
            received.extend(answer.ids)

    with pytest.raises(grpc.aio.AioRpcError) as error:
        await receive()

    assert status_of(error.value) == ("INVALID_ARGUMENT", "IDGEN-COMMON-0001")
    assert received == [str(FIRST + offset) for offset in range(4)]


async def test_a_key_revoked_in_the_middle_ends_the_stream(ids: Any, served: Any) -> None:
    call = ids.BatchGenerateStream(metadata=KEY)
    await call.write(idgen_pb2.BatchGenerateStreamRequest(**TAG, size=1))
    assert (await call.read()).ids == [str(FIRST)]
    del served.keys.keys["user-key"]
    await call.write(idgen_pb2.BatchGenerateStreamRequest(**TAG, size=1))

    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call.read()
    assert status_of(error.value) == ("UNAUTHENTICATED", "IDGEN-AUTH-1003")


class Metadata:
    """What the servicer asks of a call's context."""

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return KEY


async def test_a_slow_reader_is_waited_for_with_nothing_queued(
    url: DatabaseUrl, served: Any, clock: Any, tag: Any
) -> None:
    """The server asks for the next answer when the transport took the last one, and only then."""
    read = 0

    async def requests() -> AsyncIterator[idgen_pb2.BatchGenerateStreamRequest]:
        nonlocal read
        while True:
            read += 1
            yield idgen_pb2.BatchGenerateStreamRequest(**TAG, size=3)

    servicers: list[Any] = []
    settings = IdSettings.load(id_database_url=url)
    async with compose(settings, verifier=served.keys, clock=clock) as service:
        for register in service.grpc:
            register(Capturing(servicers))
        answers = servicers[0].BatchGenerateStream(requests(), Metadata())
        for taken in range(1, 6):
            await anext(answers)
            await asyncio.sleep(0)
            assert read == taken
        await answers.aclose()


class Capturing:
    """Stands in for a `grpc.aio.Server` and keeps the servicers of what is registered."""

    def __init__(self, servicers: list[Any]) -> None:
        self._servicers = servicers

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        pass

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        method = next(iter(handlers.values()))
        self._servicers.append(method.unary_unary.__self__)


async def test_a_block_is_ranges_apart_from_all_other_ids(ids: Any, blocks: Any, clock: Any) -> None:
    before = await ids.Generate(idgen_pb2.GenerateRequest(**TAG), metadata=KEY)
    lease = await blocks.LeaseBlock(id_pb2.LeaseBlockRequest(**TAG, size=1_000_000), metadata=KEY)
    after = await ids.Generate(idgen_pb2.GenerateRequest(**TAG), metadata=KEY)

    assert lease.allocated_at_ms == clock.now_ms()
    assert sum(held.last - held.first + 1 for held in lease.ranges) == 1_000_000
    assert lease.ranges[0].first == int(before.id) + 1
    assert int(after.id) == lease.ranges[-1].last + 1


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"size": 0}, "INVALID_ARGUMENT"),
        ({"size": 10_000_001}, "INVALID_ARGUMENT"),
        ({"size": 2**64 - 1}, "INVALID_ARGUMENT"),
        ({"biz_tag": "event-id"}, "INVALID_ARGUMENT"),
        ({"biz_tag": "far"}, "INVALID_ARGUMENT"),
        ({"biz_tag": "none"}, "NOT_FOUND"),
    ],
)
async def test_wrong_leases(blocks: Any, changed: dict[str, Any], status: str) -> None:
    request = id_pb2.LeaseBlockRequest(**{**TAG, "size": 1, **changed})
    assert (await refusal(blocks.LeaseBlock(request, metadata=KEY)))[0] == status


@pytest.mark.parametrize(
    ("service", "status"),
    [
        ("", "SERVING"),
        ("idgen.v1.IdService", "SERVING"),
        ("millrace.id.v1.IdBlockService", "SERVING"),
        ("other", "SERVICE_UNKNOWN"),
    ],
)
async def test_health_needs_no_key(ids: Any, service: str, status: str) -> None:
    answer = await ids.HealthCheck(idgen_pb2.HealthCheckRequest(service=service))
    assert answer.status == idgen_pb2.HealthCheckResponse.ServingStatus.Value(status)


async def test_a_draining_service_is_not_serving(ids: Any, served: Any) -> None:
    served.service.health.draining = True
    answer = await ids.HealthCheck(idgen_pb2.HealthCheckRequest())
    assert answer.status == idgen_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_larger_batch_limit_holds_for_every_edge(
    url: DatabaseUrl, served: Any, clock: Any, tag: Any
) -> None:
    settings = IdSettings.load(id_database_url=url, id_batch_max_size=10_000)
    async with compose(settings, verifier=served.keys, clock=clock) as service:
        server = grpc.aio.server()
        for register in service.grpc:
            register(server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            request = idgen_pb2.BatchGenerateRequest(**TAG, size=10_000)
            batch = await idgen_pb2_grpc.IdServiceStub(channel).BatchGenerate(request, metadata=KEY)
        await server.stop(None)

    assert len(set(batch.ids)) == 10_000
