"""The trace of one message over all hops and processes, and the way of messages while nobody takes the traces."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest

from millrace.query.v1 import query_pb2, query_pb2_grpc
from millrace_runtime.service import PORTS, Endpoint
from millrace_testkit.builders import message
from millrace_testkit.crash import wait_killed
from millrace_testkit.load import OK, post_all
from millrace_testkit.model import compare
from millrace_testkit.otlp import OtlpReceiver, SpanSeen
from millrace_testkit.ports import free_port
from millrace_testkit.real import RealStack
from millrace_testkit.relayed import read_topic
from millrace_testkit.stack import Process, Stack, wait_until

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
SECRET = "the meeting is at nine"
MSG_ID = "7304418825596013377"

DOOR = ("ingest-service", "POST /webhook/wechat")
APPEND = ("ingest-service", "append webhook.messages")
RELAY = ("ingest-service", "relay webhook.messages")
LAND = ("ingest-service", "land webhook.messages")
COMMIT = ("ingest-service", "commit lake")
GET = ("query-service", "GET /api/v1/messages/{msg_id}")
BY_IDS = ("query-service", "millrace.query.v1.QueryService/GetByIds")
LOOKUP = ("query-service", "lake lookup")
CHECK = ("auth-service", "millrace.auth.v1.AuthService/CheckKey")


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


def post(process: Process, body: bytes, headers: dict[str, str] | None = None) -> None:
    url = f"http://127.0.0.1:{process.endpoint.http_port}/webhook/wechat"
    assert httpx.post(url, content=body, headers=headers, trust_env=False).status_code == OK


def sampled_message() -> bytes:
    return message(MSG_ID, content=SECRET, from_username="wxid_of_a_person")


def ask(endpoint: Endpoint, key: str) -> None:
    """The message by its id, over HTTP and gRPC, in the caller's trace."""
    url = f"http://127.0.0.1:{endpoint.http_port}/api/v1/messages/{MSG_ID}"
    answer = httpx.get(url, headers={**SAMPLED, "X-API-Key": key}, trust_env=False)
    assert answer.json()["content"] == SECRET
    with grpc.insecure_channel(f"127.0.0.1:{endpoint.grpc_port}") as channel:
        stub = query_pb2_grpc.QueryServiceStub(channel)
        request = query_pb2.GetByIdsRequest(msg_ids=[MSG_ID])
        found = stub.GetByIds(request, metadata=[*SAMPLED.items(), ("x-api-key", key)], timeout=10)
    assert found.items[0].content == SECRET


def user_key(stack: Stack) -> str:
    return str(json.loads(stack.credentials.read_bytes())["user_key"])


def links(spans: list[SpanSeen]) -> set[tuple[tuple[str, str], tuple[str, str] | str]]:
    """Each span by service and name, and whose child it is."""
    names = {span.id: (span.service, span.name) for span in spans}
    assert len(names) == len(spans)
    return {((span.service, span.name), names.get(span.parent, span.parent)) for span in spans}


def assert_nothing_private(receiver: OtlpReceiver, key: str) -> None:
    for span in receiver.spans:
        for secret in (SECRET, key, "wxid_of_a_person", MSG_ID):
            assert secret.encode() not in span.raw, f"{secret!r} in {span.name}"


@pytest.mark.e2e
def test_one_process_gives_one_trace_of_a_sampled_message_and_none_of_another(
    tmp_path: Path, receiver: OtlpReceiver
) -> None:
    with Stack.embedded(tmp_path) as stack:
        settings = {"TRACE_SAMPLE_RATIO": "0", "OTLP_METRICS_INTERVAL_S": "0.5"}
        everything = stack.up(OTLP_ENDPOINT=receiver.endpoint, **settings).wait_ready()
        post(everything, message("1"))
        post(everything, sampled_message(), SAMPLED)
        post(everything, message("2"), {"traceparent": SAMPLED["traceparent"][:-1] + "0"})
        receiver.wait_for(lambda seen: any(span.name == "commit lake" for span in seen.spans), "the commit")
        ask(PORTS["query-service"].shifted(everything.offset), user_key(stack))
        accepted = ("ingest-service", "millrace_accepted_total", 3.0)
        receiver.wait_for(
            lambda seen: accepted in {(point.service, point.name, point.value) for point in seen.points},
            "the door's metrics",
        )
        everything.stop()
        assert links(receiver.spans) == {
            (DOOR, CALLER), (APPEND, DOOR), (LAND, APPEND), (COMMIT, LAND),
            (GET, CALLER), (LOOKUP, GET), (BY_IDS, CALLER), (LOOKUP, BY_IDS),
        }  # fmt: skip
        assert {span.trace for span in receiver.spans} == {TRACE}
        assert {point.service for point in receiver.points} == set(PORTS)
        assert_nothing_private(receiver, user_key(stack))


@pytest.mark.real
def test_processes_give_one_trace_over_kafka(
    tmp_path: Path, real_stack: RealStack, receiver: OtlpReceiver
) -> None:
    telemetry = {"MILLRACE_OTLP_ENDPOINT": receiver.endpoint, "MILLRACE_TRACE_SAMPLE_RATIO": "0"}
    with Stack.real(tmp_path, real_stack, **telemetry, MILLRACE_OTLP_METRICS_INTERVAL_S="0.5") as stack:
        auth = stack.auth()
        door, relay, writer, query = stack.door(), stack.relay(), stack.lake_writer(), stack.query()
        for process in (auth, door, relay, writer, query):
            process.wait_ready()
        post(door, message("1"))
        post(door, sampled_message(), SAMPLED)
        post(door, message("2"))
        stack.wait_landed()
        ask(query.endpoint, user_key(stack))
        for process in (door, relay, writer, query, auth):
            process.stop()

        assert links(receiver.spans) == {
            (DOOR, CALLER), (APPEND, DOOR), (RELAY, APPEND), (LAND, RELAY), (COMMIT, LAND),
            (GET, CALLER), (CHECK, GET), (LOOKUP, GET), (BY_IDS, CALLER), (LOOKUP, BY_IDS),
        }  # fmt: skip
        assert {span.trace for span in receiver.spans} == {TRACE}
        named = {
            s.name: s.attributes["millrace.origin"]
            for s in receiver.spans
            if "millrace.origin" in s.attributes
        }
        assert len(set(named.values())) == 1
        assert {name for _, name in (APPEND, RELAY, LAND, GET, BY_IDS)} == set(named)
        [carried] = [
            r.headers["traceparent"].decode()
            for r in read_topic(stack.servers.kafka)
            if "traceparent" in r.headers
        ]
        assert carried.split("-")[1] == TRACE
        told = {point.name for point in receiver.points}
        for name in ("accepted_total", "relayed_lines_total", "landed_rows_total", "query_seconds"):
            assert f"millrace_{name}" in told
        assert_nothing_private(receiver, user_key(stack))


@pytest.mark.real
@pytest.mark.faults
def test_a_relay_that_is_killed_repeats_the_record_in_the_same_trace(
    tmp_path: Path, real_stack: RealStack, receiver: OtlpReceiver
) -> None:
    telemetry = {"MILLRACE_OTLP_ENDPOINT": receiver.endpoint, "MILLRACE_TRACE_SAMPLE_RATIO": "0"}
    with Stack.real(tmp_path, real_stack, **telemetry) as stack:
        door = stack.door().wait_ready()
        post(door, sampled_message(), SAMPLED)
        wait_killed(stack.relay(CRASH_AT="AFTER_PUBLISH_BEFORE_POSITION"))
        door.kill()  # what it knew of the message is gone as well
        relay, writer = stack.relay().wait_ready(), stack.lake_writer().wait_ready()
        stack.wait_landed()
        relay.stop()
        writer.stop()
        carried = [record.headers["traceparent"].decode() for record in read_topic(stack.servers.kafka)]
        assert len(carried) == 2
        assert {text.split("-")[1] for text in carried} == {TRACE}
        spans = [span for span in receiver.spans if span.name in (RELAY[1], LAND[1])]
        assert {span.trace for span in spans} == {TRACE}
        # The span of the killed relay went with it; both records say where they come from.
        assert {span.parent for span in spans if span.name == LAND[1]} == {
            text.split("-")[2] for text in carried
        }
        assert compare(stack.data) == []


@pytest.mark.real
def test_messages_go_their_way_while_nobody_takes_the_traces(tmp_path: Path, real_stack: RealStack) -> None:
    telemetry = {
        "MILLRACE_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}",
        "MILLRACE_TRACE_SAMPLE_RATIO": "1",
        "MILLRACE_OTLP_METRICS_INTERVAL_S": "0.2",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
    }
    with Stack.real(tmp_path, real_stack, **telemetry) as stack:
        processes = [stack.door(), stack.relay(), stack.lake_writer()]
        for process in processes:
            process.wait_ready()
        statuses = asyncio.run(
            post_all(processes[0].endpoint.http_port, [message(str(n)) for n in range(500)])
        )
        assert Counter(statuses) == {OK: 500}
        stack.wait_landed()
        for process in processes:
            wait_until(lambda p=process: "telemetry_does_not_arrive" in p.log(), 20, "the log says so")
            process.stop(within_s=10)
            lines = [json.loads(line) for line in process.log().splitlines() if line.startswith("{")]
            events = Counter((line["event"], line.get("signal")) for line in lines)
            assert events[("telemetry_does_not_arrive", "traces")] == 1
            assert events[("telemetry_does_not_arrive", "metrics")] <= 1
            [dropped] = [line["spans"] for line in lines if line["event"] == "spans_dropped"]
            assert dropped >= 256
        assert compare(stack.data) == []


def test_a_process_that_is_off_imports_nothing_of_it(tmp_path: Path, receiver: OtlpReceiver) -> None:
    with Stack.embedded(tmp_path, PYTHONPROFILEIMPORTTIME="1") as stack:
        relay = {
            "DATA": str(stack.data),
            "BUS": "kafka://127.0.0.1:1",
            "OBJECTS": f"file://{tmp_path}/objects",
        }
        bare = [stack.door(), stack.lake_writer(), stack._module("relay", relay, {})]
        query, on = stack.query(), stack.door(OTLP_ENDPOINT=receiver.endpoint)
        for process in (*bare, query, on):
            process.wait_ready()
        for process in bare:
            assert _imported(process) == set()
        # FastAPI itself imports OpenTelemetry's API, which does nothing.
        assert not {
            name for name in _imported(query) if name.split(".")[1:2] in (["sdk"], ["exporter"], ["proto"])
        }
        assert "opentelemetry.sdk.trace" in _imported(on)


def _imported(process: Process) -> set[str]:
    return set(re.findall(r"^import time:.*\|\s+(opentelemetry[\w.]*)$", process.log(), re.MULTILINE))
