"""Publish over real gRPC: the same journals, with a key."""

from __future__ import annotations  # the stubs' generic classes are not generic at run time

from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest

from millrace.ingest.v1 import ingest_pb2, ingest_pb2_grpc

PUBLISHER = (("x-api-key", "publisher"),)


@pytest.fixture
async def stub(door: Any) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{door.endpoint.grpc_port}") as channel:
        yield ingest_pb2_grpc.IngestServiceStub(channel)


async def test_results_say_where_each_payload_is(door: Any, stub: Any) -> None:
    await door.post(b'{"n":0}')
    payloads = [b'{"n":1}', b"junk", b'{\n"n":2}', b"[]", b'{"n":3}']
    request = ingest_pb2.PublishRequest(payloads=payloads)
    answer = await stub.Publish(request, metadata=(*PUBLISHER, ("x-request-id", "r-1")))
    kinds = [result.WhichOneof("outcome") for result in answer.results]
    assert kinds == ["accepted", "rejected", "accepted", "rejected", "accepted"]
    places = [result.accepted for result in answer.results if result.HasField("accepted")]
    assert [place.line for place in places] == [2, 3, 4]
    assert {place.door for place in places} == {(door.data / "messages/raw/.door").read_text().strip()}
    assert (door.data / "messages/raw" / places[0].journal).exists()
    assert door.journal() == [b'{"n":0}', b'{"n":1}', b'{ "n":2}', b'{"n":3}']
    assert answer.results[3].rejected.reason == "not_an_object"
    first, second = door.rejected()
    assert (first["body_text"], second["body_text"]) == ("junk", "[]")
    assert (first["request_id"], first["client_ip"]) == ("r-1", "127.0.0.1")


async def test_a_stream_is_answered_when_all_of_it_is_durable(door: Any, stub: Any) -> None:
    def requests() -> Iterator[ingest_pb2.PublishStreamRequest]:
        for number in range(20):
            yield ingest_pb2.PublishStreamRequest(payloads=[b'{"n":%d}' % number, b"junk"])

    answer = await stub.PublishStream(requests(), metadata=PUBLISHER)
    assert (answer.accepted, answer.rejected) == (20, 20)
    assert door.journal() == [b'{"n":%d}' % number for number in range(20)]
    assert len(door.rejected()) == 20


async def test_nothing_asked_is_nothing_done(door: Any, stub: Any) -> None:
    answer = await stub.Publish(ingest_pb2.PublishRequest(), metadata=PUBLISHER)
    assert len(answer.results) == 0
    assert door.journal() == []


@pytest.mark.parametrize(
    ("metadata", "status", "code"),
    [
        ((), grpc.StatusCode.UNAUTHENTICATED, "IDGEN-COMMON-0002"),
        ((("x-api-key", "wrong"),), grpc.StatusCode.UNAUTHENTICATED, "IDGEN-AUTH-1003"),
        ((("x-api-key", "reader"),), grpc.StatusCode.PERMISSION_DENIED, "IDGEN-AUTH-1002"),
    ],
)
async def test_without_the_scope_nothing_is_stored(
    door: Any, stub: Any, metadata: Any, status: grpc.StatusCode, code: str
) -> None:
    request = ingest_pb2.PublishRequest(payloads=[b"{}", b"junk"])
    for call in (
        lambda: stub.Publish(request, metadata=metadata),
        lambda: stub.PublishStream(iter([]), metadata=metadata),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call()
        assert caught.value.code() == status
        assert ("idgen-error-code", code) in tuple(caught.value.trailing_metadata() or ())
    assert not (door.data / "messages").exists()


async def test_a_broken_disk_is_unavailable(door: Any, stub: Any) -> None:
    (door.data / "messages").write_bytes(b"")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Publish(ingest_pb2.PublishRequest(payloads=[b"{}"]), metadata=PUBLISHER)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert caught.value.details() == "Storage unavailable"
