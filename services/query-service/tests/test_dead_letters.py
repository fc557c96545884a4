"""Dead letters (LAKE-91): filters, pages, one by its origin, masked (LAKE-56), and whether they have landed."""

from __future__ import annotations  # the stubs' classes do not exist at run time

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from millrace.query.v1 import dead_letters_pb2 as pb
from millrace.query.v1 import dead_letters_pb2_grpc, query_pb2
from millrace_runtime.grpc import GrpcServer
from millrace_runtime.service import Service
from millrace_schemas import datasets
from millrace_testkit.messages_lake import DAY, MessagesLake, message

READER = (("x-api-key", "reader"),)
CLEAR = (("x-api-key", "clear"),)
SECRET = json.dumps(
    {"guid": "g", "notify_type": 1200, "data": {"userName": {"string": "wxid_a"}, "mobile": "13905718264"}}
)
URL = "/api/v1/dead-letters"


def letter(line: int, at: datetime = DAY, **values: Any) -> dict[str, Any]:
    return {
        "error_type": "schema_error",
        "reason": "missing_required_field",
        "error_message": "missing or empty required field: guid",
        "fields": '["guid"]',
        "body": f'{{"n":{line}}}',
        "body_base64": None,
        "replay": "millrace dead-letters replay",
        "ingestion_time": at,
        "src_door": "door-1",
        "src_file": "2026-03-14.jsonl",
        "src_line": line,
        "src_element": 0,
        **_day(at),
        **values,
    }


def _day(at: datetime) -> dict[str, str]:
    return {"year": f"{at:%Y}", "month": f"{at:%m}", "day": f"{at:%d}"}


def append(root: Path, dataset: str, *rows: dict[str, Any]) -> None:
    table = pa.Table.from_pylist(list(rows), schema=datasets.load(dataset).arrow_schema())
    write_deltalake(str(root / dataset), table, mode="append", partition_by=["year", "month", "day"])


def contact(username: str, **values: Any) -> dict[str, Any]:
    schema = datasets.load("contacts").arrow_schema()
    texts = {field.name: "" for field in schema if field.type == pa.string()}
    numbers = {field.name: 0 for field in schema if pa.types.is_integer(field.type)}
    return {
        **texts,
        **numbers,
        "username": username,
        "ingestion_time": DAY,
        "extra_fields": None,
        **_day(DAY),
        **values,
    }


@pytest.fixture
def letters(lake: MessagesLake) -> MessagesLake:
    """Six of three days; the second door's one is no JSON, another one not even UTF-8."""
    append(
        lake.root, "dead_letters",
        letter(3, reason="type_error", error_type="validation_error"), letter(1, body=SECRET), letter(2),
    )  # fmt: skip
    later = DAY + timedelta(days=1)
    append(
        lake.root, "dead_letters",
        letter(9, later, src_door="topic-a/3", src_file="webhook.messages", body="call 13905718264"),
        letter(4, later, body="", body_base64="/w==", error_type="parse_error", reason="not_utf8"),
    )  # fmt: skip
    append(lake.root, "dead_letters", letter(5, later + timedelta(days=1), src_element=2))
    lake.after_commit()
    return lake


async def ids(http: httpx.AsyncClient, **parameters: Any) -> list[str]:
    answer = await http.get(URL, params=parameters)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


def named(line: int, element: int = 0) -> str:
    return f"door-1/2026-03-14.jsonl/{line}/{element}"


async def test_without_a_table_there_are_none(http: httpx.AsyncClient) -> None:
    answer = (await http.get(URL)).json()
    assert (answer["total"], answer["items"], answer["limit"], answer["warnings"]) == (0, [], 100, [])


async def test_in_the_order_of_landing_by_day_kind_reason_door_and_file(
    http: httpx.AsyncClient, letters: MessagesLake
) -> None:
    foreign = "topic-a/3/webhook.messages/9/0"
    everything = [named(1), named(2), named(3), named(4), foreign, named(5, 2)]
    assert await ids(http) == everything
    assert await ids(http, start="2026-03-15") == everything[3:]
    assert await ids(http, end="2026-03-14") == everything[:3]
    assert await ids(http, start="2026-03-15", end="2026-03-15") == [named(4), foreign]
    assert await ids(http, error_type=["parse_error", "validation_error"]) == [named(3), named(4)]
    assert await ids(http, reason="type_error") == [named(3)]
    assert await ids(http, door="topic-a/3") == await ids(http, file="webhook.messages") == [foreign]
    assert await ids(http, reason="type_error", door="topic-a/3") == []


async def test_pages_neither_overlap_nor_skip(http: httpx.AsyncClient, letters: MessagesLake) -> None:
    everything = await ids(http)
    pages = [await ids(http, limit=2, offset=offset) for offset in (0, 2, 4, 6)]
    assert pages == [everything[:2], everything[2:4], everything[4:], []]
    answer = await http.get(URL, params={"limit": 1})
    assert answer.json()["total"] == 6
    assert answer.headers["x-total-count"] == "6"


async def test_bodies_are_masked_unless_the_key_may_see_them(
    http: httpx.AsyncClient, letters: MessagesLake
) -> None:
    bodies = {item["id"]: item for item in (await http.get(URL)).json()["items"]}
    assert json.loads(bodies[named(1)]["body"])["data"]["mobile"] == "139****8264"
    assert bodies[named(2)]["body"] == '{"n":2}'
    assert bodies["topic-a/3/webhook.messages/9/0"]["body"] == "***"
    assert (bodies[named(4)]["body"], bodies[named(4)]["body_base64"]) == ("", "***")
    assert (await http.get(URL, params={"unmask": "true"})).status_code == 403
    clear = await http.get(URL, params={"unmask": "true"}, headers={"X-API-Key": "clear"})
    bodies = {item["id"]: item for item in clear.json()["items"]}
    assert bodies[named(1)]["body"] == SECRET
    assert bodies["topic-a/3/webhook.messages/9/0"]["body"] == "call 13905718264"
    assert bodies[named(4)]["body_base64"] == "/w=="


async def test_one_by_its_origin(http: httpx.AsyncClient, letters: MessagesLake) -> None:
    for name in (named(5, 2), "topic-a/3/webhook.messages/9/0"):
        found = (await http.get(f"{URL}/{name}")).json()["items"]
        assert [item["id"] for item in found] == [name]
    assert found[0]["ingestion_time"] == "2026-03-15T00:00:00Z" or found[0]["ingestion_time"].startswith(
        "2026-03-15T"
    )
    assert (await http.get(f"{URL}/{named(5, 1)}")).status_code == 404
    # A journal that was replaced has given its numbers again.
    append(letters.root, "dead_letters", letter(1, body='{"other":1}'))
    letters.after_commit()
    assert len((await http.get(f"{URL}/{named(1)}")).json()["items"]) == 2


async def test_landed_by_origin_by_msg_id_and_by_a_later_change(
    http: httpx.AsyncClient, lake: MessagesLake
) -> None:
    body = '{"guid":"g","notify_type":1010,"data":{"msg_id":"77"}}'
    flat = '{"msg_id":"78"}'
    change = {"guid": "g", "notify_type": 1201, "data": {"userName": {"string": "wxid_a"}}}
    append(
        lake.root, "dead_letters",
        letter(1), letter(2, body=body), letter(3, body=flat), letter(4), letter(5, body=json.dumps(change)),
        letter(6, body=json.dumps(change).replace("wxid_a", "wxid_b")), letter(7, body="no json"),
        letter(8, src_element=1),
    )  # fmt: skip
    lake.after_commit()
    assert await ids(http, landed="true") == []
    lake.append(message(1, msg_id="77"), message(2, msg_id="79"))
    origin = {"src_door": "door-1", "src_file": "2026-03-14.jsonl", "src_element": 0}
    lake.append(message(3, **{**origin, "src_line": 1}), message(4, **{**origin, "src_line": 8}))
    others = {
        "guid": "g",
        "notify_type": 1006,
        "payload": "{}",
        "received_day": "2026-03-14",
        "ingestion_time": DAY,
    }
    append(lake.root, "other", {**others, **origin, "src_line": 4, **_day(DAY)})
    received = int((DAY - timedelta(seconds=1)).timestamp() * 1000)
    order = f"2026-03-14|{received:015d}|door-1|{5:015d}"
    append(
        lake.root, "contacts",
        contact("wxid_a", row_order="2026-03-13|0|door-0|1", delete_order=order),
        contact("wxid_b", row_order=order),
    )  # fmt: skip
    lake.after_commit()
    assert await ids(http, landed="true") == [named(1), named(2), named(4), named(5)]
    assert await ids(http, landed="false") == [named(3), named(6), named(7), named(8, 1)]
    # The contact of line 6 has changed after the letter: there is nothing to be done for it any more.
    later = int((DAY + timedelta(seconds=1)).timestamp() * 1000)
    append(lake.root, "contacts", contact("wxid_b", row_order=f"2026-03-14|{later:015d}|door-1|{9:015d}"))
    lake.after_commit()
    assert await ids(http, landed="false", limit=1, offset=1) == [named(7)]


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({"start": "2026-02-30"}, "start"),
        ({"start": "2026-03-15", "end": "2026-03-14"}, "start"),
        ({"limit": "0"}, "limit"),
        ({"limit": "10001"}, "limit"),
        ({"offset": "-1"}, "offset"),
        ({"landed": "maybe"}, "landed"),
        ({"colour": "red"}, "colour"),
        ({"unmask": "2"}, "unmask"),
    ],
)
async def test_bad_parameters_are_named(
    http: httpx.AsyncClient, parameters: dict[str, str], names: str
) -> None:
    answer = await http.get(URL, params=parameters)
    assert answer.status_code == 400
    assert names in answer.text


@pytest.mark.parametrize("name", ["x", "a/b/c", "d/f/0/0", "d/f/1/x", f"d/f/{2**63}/0", "d/f/1/-1", "/f/1/0"])
async def test_what_is_no_origin_is_refused(http: httpx.AsyncClient, name: str) -> None:
    assert (await http.get(f"{URL}/{name}")).status_code == 400


async def test_no_scope_no_letters(http: httpx.AsyncClient, letters: MessagesLake) -> None:
    for path in (URL, f"{URL}/{named(1)}"):
        assert (await http.get(path, headers={"X-API-Key": "nothing"})).status_code == 403
        assert (await http.get(path, headers={"X-API-Key": "unknown"})).status_code == 401


@pytest.fixture
async def stub(service: Service, unused_tcp_port: int) -> AsyncIterator[Any]:
    server = GrpcServer(
        service.grpc,
        service_names=service.grpc_service_names,
        host="127.0.0.1",
        port=unused_tcp_port,
        reflection=False,
    )
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{unused_tcp_port}") as channel:
        yield dead_letters_pb2_grpc.DeadLetterServiceStub(channel)
    await server.stop(1)


async def test_grpc(stub: Any, letters: MessagesLake) -> None:
    found = await stub.ListDeadLetters(pb.ListDeadLettersRequest(limit=2, offset=1), metadata=READER)
    assert (found.total, [item.id for item in found.items]) == (6, [named(2), named(3)])
    assert found.items[0] == pb.DeadLetter(
        id=named(2),
        error_type="schema_error",
        reason="missing_required_field",
        error_message="missing or empty required field: guid",
        fields='["guid"]',
        body='{"n":2}',
        replay="millrace dead-letters replay",
        ingestion_time=int(DAY.astimezone(UTC).timestamp()),
        src_door="door-1",
        src_file="2026-03-14.jsonl",
        src_line=2,
        src_element=0,
        landed=False,
    )
    days = pb.ListDeadLettersRequest(start_date="2026-03-15", end_date="2026-03-15", landed=False)
    assert (await stub.ListDeadLetters(days, metadata=READER)).total == 2
    none = pb.ListDeadLettersRequest(reason=query_pb2.StringSet())
    assert (await stub.ListDeadLetters(none, metadata=READER)).total == 0
    one = await stub.GetDeadLetter(pb.GetDeadLetterRequest(id=named(1), unmask=True), metadata=CLEAR)
    assert [item.body for item in one.items] == [SECRET]
    for request, metadata, code in (
        (pb.GetDeadLetterRequest(id=named(99)), READER, grpc.StatusCode.NOT_FOUND),
        (pb.GetDeadLetterRequest(id="x"), READER, grpc.StatusCode.INVALID_ARGUMENT),
        (pb.GetDeadLetterRequest(id=named(1), unmask=True), READER, grpc.StatusCode.PERMISSION_DENIED),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetDeadLetter(request, metadata=metadata)
        assert refused.value.code() == code
