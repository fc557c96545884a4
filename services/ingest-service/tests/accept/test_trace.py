"""A sampled webhook or Publish: a span for the request, one for the append, and the context beside the lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from ingest_service.accept.intake import _TRACED_LINES
from millrace.ingest.v1 import ingest_pb2, ingest_pb2_grpc
from millrace_ports.journal import JournalReader, JournalRoot
from millrace_testkit.otlp import OtlpReceiver, SpanSeen

from .conftest import OpenDoor

TRACE, CALLER = "ab" * 16, "cd" * 8
SAMPLED = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
BODY = b'{"guid":"g","notify_type":1,"data":{"content":"a secret word"}}'


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
async def door(tmp_path: Path, open_door: Any, receiver: OtlpReceiver) -> AsyncIterator[OpenDoor]:
    """A door that samples nothing unasked."""
    async with receiver.exporting(), open_door(tmp_path) as door:
        yield door


def contexts(data: Path) -> dict[int, str]:
    root = JournalRoot(data / "messages" / "raw")
    [day] = root.days()
    reader = JournalReader(root, day, traced=True)
    reader.seek(0)
    lines = reader.read(max_records=1000, max_bytes=1 << 20)
    reader.close()
    assert lines is not None
    return dict(lines.traceparents or {})


def arrived(receiver: OtlpReceiver, count: int) -> dict[str, SpanSeen]:
    receiver.wait_for(lambda seen: len(seen.spans) >= count, f"{count} spans")
    spans = {span.name: span for span in receiver.spans}
    assert len(receiver.spans) == count == len(spans)
    assert {span.service for span in receiver.spans} == {"ingest-service"}
    return spans


async def test_a_sampled_webhook_leaves_its_context_beside_its_line(
    door: OpenDoor, receiver: OtlpReceiver
) -> None:
    for headers in ({}, SAMPLED, {"traceparent": "nonsense"}):
        answer = await door.client.post("/webhook/wechat", content=BODY, headers=headers)
        assert answer.status_code == 200
    spans = arrived(receiver, 2)
    request, append = spans["POST /webhook/wechat"], spans["append webhook.messages"]
    assert (request.trace, request.parent, request.kind) == (TRACE, CALLER, "server")
    assert (append.trace, append.parent, append.kind) == (TRACE, request.id, "producer")
    assert request.start_ns <= append.start_ns <= append.end_ns <= request.end_ns
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/webhook/wechat",
        "http.response.status_code": 200,
    }
    root = JournalRoot(door.data / "messages" / "raw")
    assert append.attributes == {
        "millrace.lines": 1,
        "millrace.origin": f"{root.door}/{root.days()[0]}/2/0",
    }
    assert contexts(door.data) == {2: f"00-{TRACE}-{append.id}-01"}
    assert not any(b"secret" in span.raw for span in receiver.spans)


async def test_a_body_that_is_rejected_has_a_span_and_no_line(door: OpenDoor, receiver: OtlpReceiver) -> None:
    answer = await door.client.post("/webhook/wechat", content=b"no secret", headers=SAMPLED)
    assert answer.status_code == 200
    spans = arrived(receiver, 1)
    assert not spans["POST /webhook/wechat"].failed
    assert not any(b"secret" in span.raw for span in receiver.spans)


async def test_a_door_that_cannot_store_says_so_in_the_spans(
    tmp_path: Path, open_door: Any, receiver: OtlpReceiver
) -> None:
    (tmp_path / "messages").write_bytes(b"a file where the journals should be")
    async with receiver.exporting(), open_door(tmp_path) as door:
        answer = await door.client.post("/webhook/wechat", content=BODY, headers=SAMPLED)
        assert answer.status_code == 503
        spans = arrived(receiver, 2)
    request, append = spans["POST /webhook/wechat"], spans["append webhook.messages"]
    assert (request.failed, request.attributes["http.response.status_code"]) == (True, 503)
    assert (append.failed, append.attributes) == (True, {"error.type": "StorageUnavailableError"})
    assert not any(str(tmp_path).encode() in span.raw for span in receiver.spans)


async def test_the_first_lines_of_a_publish_carry_its_trace(door: OpenDoor, receiver: OtlpReceiver) -> None:
    payloads = [BODY, b"not json", *[BODY] * (_TRACED_LINES + 3)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{door.endpoint.grpc_port}") as channel:
        stub: Any = ingest_pb2_grpc.IngestServiceStub(channel)
        metadata = (("x-api-key", "publisher"), *SAMPLED.items())
        await stub.Publish(ingest_pb2.PublishRequest(payloads=payloads), metadata=metadata, timeout=10)
    spans = arrived(receiver, 2)
    request, append = spans["millrace.ingest.v1.IngestService/Publish"], spans["append webhook.messages"]
    assert (request.parent, append.parent) == (CALLER, request.id)
    assert append.attributes["millrace.lines"] == len(payloads) - 1
    carried = f"00-{TRACE}-{append.id}-01"
    assert contexts(door.data) == dict.fromkeys(range(1, _TRACED_LINES + 1), carried)
    assert not any(b"publisher" in span.raw for span in receiver.spans)


async def test_the_first_request_of_a_stream_carries_its_trace(
    door: OpenDoor, receiver: OtlpReceiver
) -> None:
    def requests() -> Iterator[ingest_pb2.PublishStreamRequest]:
        for _ in range(50):
            yield ingest_pb2.PublishStreamRequest(payloads=[BODY, BODY])

    async with grpc.aio.insecure_channel(f"127.0.0.1:{door.endpoint.grpc_port}") as channel:
        stub: Any = ingest_pb2_grpc.IngestServiceStub(channel)
        metadata = (("x-api-key", "publisher"), *SAMPLED.items())
        await stub.PublishStream(requests(), metadata=metadata, timeout=10)
    spans = arrived(receiver, 2)
    assert spans["millrace.ingest.v1.IngestService/PublishStream"].parent == CALLER
    assert sorted(contexts(door.data)) == [1, 2]


async def test_the_ratio_begins_traces_of_its_own(
    tmp_path: Path, open_door: Any, receiver: OtlpReceiver
) -> None:
    async with receiver.exporting(TRACE_SAMPLE_RATIO=1), open_door(tmp_path) as door:
        for _ in range(3):
            assert (await door.post(BODY)).status_code == 200
        health = await door.client.get("/health")
        assert health.status_code == 200
        receiver.wait_for(lambda seen: len(seen.spans) >= 6, "6 spans")
    assert len(receiver.spans) == 6
    assert len({span.trace for span in receiver.spans}) == 3
    assert sorted(contexts(tmp_path)) == [1, 2, 3]
