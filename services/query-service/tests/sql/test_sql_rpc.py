"""SQL over gRPC."""

from __future__ import annotations  # the stubs' classes do not exist at run time

from collections.abc import AsyncIterator

import grpc
import msgspec
import pyarrow as pa
import pytest

from millrace.query.v1 import sql_pb2 as pb
from millrace.query.v1 import sql_pb2_grpc
from millrace_runtime.grpc import GrpcServer
from millrace_runtime.service import Service
from millrace_testkit.messages_lake import MessagesLake, message

READER = (("x-api-key", "reader"),)
CLEAR = (("x-api-key", "clear"),)


@pytest.fixture
async def stub(service: Service, unused_tcp_port: int) -> AsyncIterator[sql_pb2_grpc.SqlServiceAsyncStub]:
    server = GrpcServer(
        service.grpc,
        service_names=service.grpc_service_names,
        host="127.0.0.1",
        port=unused_tcp_port,
        reflection=False,
    )
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{unused_tcp_port}") as channel:
        yield sql_pb2_grpc.SqlServiceStub(channel)  # type: ignore[misc]
    await server.stop(1)


async def body(call: grpc.aio.UnaryStreamCall[pb.SqlRequest, pb.SqlResponse]) -> tuple[bytes, dict[str, str]]:
    chunks = [response.chunk async for response in call]
    trailers = {name: str(value) for name, value in await call.trailing_metadata() or ()}
    assert max(map(len, chunks), default=0) <= 1 << 20
    return b"".join(chunks), trailers


async def test_each_format(stub: sql_pb2_grpc.SqlServiceAsyncStub, lake: MessagesLake) -> None:
    lake.append(*(message(n, content="字" * 5_000) for n in range(200)))
    statement = "SELECT content, src_line FROM messages ORDER BY src_line"
    for form in (pb.SQL_FORMAT_UNSPECIFIED, pb.SQL_FORMAT_ARROW):
        arrow, trailers = await body(stub.Sql(pb.SqlRequest(sql=statement, format=form), metadata=READER))
        assert len(arrow) > 2 << 20  # more than one chunk
        table = pa.ipc.open_stream(arrow).read_all()
        assert table["src_line"].to_pylist() == list(range(1, 201))
        assert (trailers["x-truncated"], trailers["x-row-count"]) == ("false", "200")
    request = pb.SqlRequest(sql=statement, limit=3, format=pb.SQL_FORMAT_JSON)
    as_json, trailers = await body(stub.Sql(request, metadata=READER))
    assert [row[1] for row in msgspec.json.decode(as_json)["rows"]] == [1, 2, 3]
    assert trailers["x-truncated"] == "true"
    request = pb.SqlRequest(sql="SELECT 1 AS a", format=pb.SQL_FORMAT_CSV)
    assert (await body(stub.Sql(request, metadata=READER)))[0] == b'"a"\n1\n'


async def test_masking_and_warnings(stub: sql_pb2_grpc.SqlServiceAsyncStub, lake: MessagesLake) -> None:
    lake.append(message(1, extra_fields='{"mobile":"13905718264"}'))
    lake.append(message(2))
    broken = lake.files()[1]
    request = pb.SqlRequest(sql="SELECT max(extra_fields->>'mobile') FROM messages", format=pb.SQL_FORMAT_CSV)
    assert b"139****8264" in (await body(stub.Sql(request, metadata=CLEAR)))[0]
    request.unmask = True
    assert b"13905718264" in (await body(stub.Sql(request, metadata=CLEAR)))[0]
    broken.write_bytes(b"")
    _, trailers = await body(stub.Sql(request, metadata=CLEAR))
    assert broken.name in trailers["x-warnings"]


@pytest.mark.parametrize(
    ("request_", "metadata", "status", "says"),
    [
        (pb.SqlRequest(sql="SELECT 1"), (), grpc.StatusCode.UNAUTHENTICATED, "key"),
        (
            pb.SqlRequest(sql="SELECT 1"),
            (("x-api-key", "nothing"),),
            grpc.StatusCode.PERMISSION_DENIED,
            "lake:read",
        ),
        (
            pb.SqlRequest(sql="SELECT 1", unmask=True),
            READER,
            grpc.StatusCode.PERMISSION_DENIED,
            "lake:unmask",
        ),
        (pb.SqlRequest(), READER, grpc.StatusCode.INVALID_ARGUMENT, "sql"),
        (pb.SqlRequest(sql="SELECT 1", limit=100_001), READER, grpc.StatusCode.INVALID_ARGUMENT, "limit"),
        (pb.SqlRequest(sql="SELECT 1", format=9), READER, grpc.StatusCode.INVALID_ARGUMENT, "format"),  # type: ignore[arg-type]
        (pb.SqlRequest(sql="FROM 'a.csv'"), READER, grpc.StatusCode.INVALID_ARGUMENT, "a.csv"),
        (
            pb.SqlRequest(sql="SELECT length(repeat('x', 2000000000))"),
            READER,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "sql",
        ),
    ],
)
async def test_refusals(
    stub: sql_pb2_grpc.SqlServiceAsyncStub,
    request_: pb.SqlRequest,
    metadata: tuple[tuple[str, str], ...],
    status: grpc.StatusCode,
    says: str,
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await body(stub.Sql(request_, metadata=metadata))
    assert refused.value.code() is status
    assert says in (refused.value.details() or "")
