"""The gRPC API over a real server and channel."""

from __future__ import annotations  # the stubs' classes do not exist at run time

from collections.abc import AsyncIterator
from datetime import timedelta

import grpc
import pyarrow as pa
import pytest

from millrace.query.v1 import query_pb2 as pb
from millrace.query.v1 import query_pb2_grpc
from millrace_runtime.grpc import GrpcServer
from millrace_runtime.service import Service
from millrace_testkit.messages_lake import DAY, MessagesLake, message, ordered

READER = (("x-api-key", "reader"),)
CLEAR = (("x-api-key", "clear"),)


def today(**sets: pb.StringSet | pb.Int32Set) -> pb.MessageFilter:
    return pb.MessageFilter(start_date="2026-03-14", end_date="2026-03-14", **sets)  # type: ignore[arg-type]


@pytest.fixture
async def stub(service: Service, unused_tcp_port: int) -> AsyncIterator[query_pb2_grpc.QueryServiceAsyncStub]:
    server = GrpcServer(
        service.grpc,
        service_names=service.grpc_service_names,
        host="127.0.0.1",
        port=unused_tcp_port,
        reflection=False,
    )
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{unused_tcp_port}") as channel:
        yield query_pb2_grpc.QueryServiceStub(channel)  # type: ignore[misc]
    await server.stop(1)


async def test_search(stub: query_pb2_grpc.QueryServiceAsyncStub, lake: MessagesLake) -> None:
    lake.append(*(message(n, DAY + timedelta(seconds=9 - n)) for n in range(9)))
    found = await stub.Search(pb.SearchRequest(filter=today(), limit=4, offset=2), metadata=READER)
    rows = ordered(lake.rows)[2:6]
    assert found.total == 9
    assert [item.msg_id for item in found.items] == [row["msg_id"] for row in rows]
    assert found.items[0].create_time == int(rows[0]["create_time"].timestamp())
    assert (found.items[0].year, found.items[0].month, found.items[0].day) == (2026, 3, 14)
    assert not found.items[0].HasField("extra_fields")
    some = await stub.Search(pb.SearchRequest(filter=today(), columns=["guid"]), metadata=READER)
    assert some.items[0] == pb.Message(guid=rows[0]["guid"])


async def test_absent_filters_do_not_filter_and_empty_ones_match_nothing(
    stub: query_pb2_grpc.QueryServiceAsyncStub, lake: MessagesLake
) -> None:
    lake.append(*(message(n, msg_type=n % 2) for n in range(4)))

    async def total(condition: pb.MessageFilter) -> int:
        return (await stub.Count(pb.CountRequest(filter=condition), metadata=READER)).total

    assert await total(today()) == 4
    assert await total(today(msg_type=pb.Int32Set(values=[1]))) == 2
    assert await total(today(msg_type=pb.Int32Set())) == 0
    assert await total(today(chatroom=pb.StringSet(values=[""]))) == 0


async def test_arrow_chunks_are_one_ipc_stream(
    stub: query_pb2_grpc.QueryServiceAsyncStub, lake: MessagesLake
) -> None:
    lake.append(*(message(n, content="字" * 5_000) for n in range(400)))
    call = stub.SearchArrow(pb.SearchArrowRequest(filter=today()), metadata=READER)
    chunks = [response.ipc async for response in call]
    assert max(map(len, chunks)) <= 1 << 20
    assert len(chunks) > 5
    table = pa.ipc.open_stream(b"".join(chunks)).read_all()
    assert table["msg_id"].to_pylist() == [row["msg_id"] for row in ordered(lake.rows)]


async def test_a_reader_that_goes_half_way_leaves_the_service_whole(
    stub: query_pb2_grpc.QueryServiceAsyncStub, lake: MessagesLake
) -> None:
    lake.append(*(message(n, content="字" * 5_000) for n in range(400)))
    for _ in range(8):  # more than there are threads
        call = stub.SearchArrow(pb.SearchArrowRequest(filter=today()), metadata=READER)
        await call.read()
        call.cancel()
    assert (await stub.Count(pb.CountRequest(filter=today()), metadata=READER)).total == 400


async def test_get_by_ids(stub: query_pb2_grpc.QueryServiceAsyncStub, lake: MessagesLake) -> None:
    lake.append(*(message(n, extra_fields='{"mobile":"13905718264"}') for n in range(5)))
    ids = [lake.rows[3]["msg_id"], "unknown", lake.rows[1]["msg_id"], lake.rows[1]["msg_id"]]
    found = await stub.GetByIds(pb.GetByIdsRequest(msg_ids=ids), metadata=READER)
    assert [item.msg_id for item in found.items] == [lake.rows[1]["msg_id"], lake.rows[3]["msg_id"]]
    assert found.items[0].extra_fields == '{"mobile":"139****8264"}'
    clear = await stub.GetByIds(pb.GetByIdsRequest(msg_ids=ids, unmask=True), metadata=CLEAR)
    assert clear.items[0].extra_fields == '{"mobile":"13905718264"}'
    assert not (await stub.GetByIds(pb.GetByIdsRequest(), metadata=READER)).items


@pytest.mark.parametrize(
    ("request_", "metadata", "status", "says"),
    [
        (pb.SearchRequest(filter=today()), (), grpc.StatusCode.UNAUTHENTICATED, "key"),
        (pb.SearchRequest(filter=today()), (("x-api-key", "who"),), grpc.StatusCode.UNAUTHENTICATED, "key"),
        (
            pb.SearchRequest(filter=today(), unmask=True),
            READER,
            grpc.StatusCode.PERMISSION_DENIED,
            "lake:unmask",
        ),
        (pb.SearchRequest(), READER, grpc.StatusCode.INVALID_ARGUMENT, "start_date"),
        (pb.SearchRequest(filter=today(), limit=10_001), READER, grpc.StatusCode.INVALID_ARGUMENT, "limit"),
        (pb.SearchRequest(filter=today(), offset=2**63), READER, grpc.StatusCode.INVALID_ARGUMENT, "offset"),
        (
            pb.SearchRequest(filter=today(), columns=["x"]),
            READER,
            grpc.StatusCode.INVALID_ARGUMENT,
            "columns",
        ),
    ],
)
async def test_refusals(
    stub: query_pb2_grpc.QueryServiceAsyncStub,
    request_: pb.SearchRequest,
    metadata: tuple[tuple[str, str], ...],
    status: grpc.StatusCode,
    says: str,
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Search(request_, metadata=metadata)
    assert refused.value.code() is status
    assert says in (refused.value.details() or "")


async def test_a_broken_file_is_named_in_the_trailer(
    stub: query_pb2_grpc.QueryServiceAsyncStub, lake: MessagesLake
) -> None:
    lake.append(message(1))
    broken = lake.files()[0]
    broken.write_bytes(b"")
    call = stub.Search(pb.SearchRequest(filter=today()), metadata=READER)
    assert (await call).total == 0
    trailers = dict(await call.trailing_metadata() or ())
    assert broken.name in str(trailers["x-warnings"])
