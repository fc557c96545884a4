"""Contacts by username, chatroom, deleted, changed since (LAKE-103), in the library, over HTTP and gRPC."""

from __future__ import annotations  # the stubs' classes do not exist at run time

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from millrace.query.v1 import query_pb2 as pb
from millrace.query.v1 import query_pb2_grpc
from millrace_runtime.grpc import GrpcServer
from millrace_runtime.service import Service
from millrace_schemas import datasets
from millrace_testkit.messages_lake import DAY, MessagesLake
from query_service.search.columns import CONTACT_COLUMNS
from query_service.search.local import BadQueryError, Lake

STORED = datasets.load("contacts").arrow_schema()
READER = (("x-api-key", "reader"),)
CLEAR = (("x-api-key", "clear"),)


def contact(username: str, at: datetime = DAY, **values: Any) -> dict[str, Any]:
    texts = {field.name: "" for field in STORED if field.type == pa.string()}
    numbers = {field.name: 0 for field in STORED if pa.types.is_integer(field.type)}
    return {
        **texts,
        **numbers,
        "username": username,
        "nickName": '{"string":"王敏"}',
        "customInfo": "{}",
        "ingestion_time": at,
        "extra_fields": None,
        "row_order": f"{at:%Y-%m-%d} 1",
        "year": f"{at:%Y}",
        "month": f"{at:%m}",
        "day": f"{at:%d}",
        **values,
    }


def append(root: Path, *rows: dict[str, Any]) -> None:
    table = pa.Table.from_pylist(list(rows), schema=STORED)
    write_deltalake(str(root / "contacts"), table, mode="append", partition_by=["year", "month", "day"])


SECRET = '{"detailVisible":1,"detail":"private"}'


@pytest.fixture
def people(lake: MessagesLake) -> Path:
    append(
        lake.root,
        contact(
            "wxid_b", DAY, mobile="13905718264", customInfo=SECRET, extra_fields='{"mobile":"13905718264"}'
        ),
        contact("wxid_a", DAY + timedelta(days=1), deleteFlag=1),
        contact("1@chatroom", DAY + timedelta(days=2)),
        contact("x@chatroom.example", DAY + timedelta(days=3)),
    )
    return lake.root


@pytest.fixture
def local(people: Path) -> Iterator[Lake]:
    with Lake(people, people.parent / "archive") as opened:
        yield opened


def names(local: Lake, **asked: Any) -> list[str]:
    found = local.contacts(columns=["username"], **asked)
    rows = found.table()["username"].to_pylist()
    assert found.total == len(rows) or asked.keys() & {"limit", "offset"}
    return rows


def test_each_condition(local: Lake) -> None:
    everybody = ["1@chatroom", "wxid_a", "wxid_b", "x@chatroom.example"]
    assert names(local) == everybody
    assert names(local, usernames=["wxid_b", "nobody", "wxid_a", "wxid_a"]) == ["wxid_a", "wxid_b"]
    assert names(local, usernames=[]) == []
    assert names(local, chatroom=True) == ["1@chatroom"]  # LAKE-40
    assert names(local, chatroom=False) == everybody[1:]
    assert names(local, deleted=True) == ["wxid_a"]
    assert names(local, deleted=False, chatroom=False) == ["wxid_b", "x@chatroom.example"]
    assert names(local, changed_since=DAY + timedelta(days=2)) == ["1@chatroom", "x@chatroom.example"]
    assert names(local, changed_since=(DAY + timedelta(days=3, microseconds=1)).replace(tzinfo=None)) == []
    assert names(local, limit=2, offset=1) == everybody[1:3]
    assert local.contacts(limit=1).total == 4


def test_columns_and_what_is_refused(local: Lake) -> None:
    assert local.contacts().schema.names == list(CONTACT_COLUMNS)
    assert local.contacts(columns=["sex", "username"]).schema.names == ["sex", "username"]
    for columns in (["nope"], ["row_order"], []):
        with pytest.raises(BadQueryError, match="columns"):
            local.contacts(columns=columns)
    with pytest.raises(BadQueryError, match="limit"):
        local.contacts(limit=0)


def test_no_contacts_yet(lake: MessagesLake) -> None:
    lake.root.mkdir()
    with Lake(lake.root) as local:
        found = local.contacts()
        assert (found.total, found.table().schema.names) == (0, list(CONTACT_COLUMNS))


def test_masked_unless_clear_values_are_asked_for(local: Lake) -> None:
    """LAKE-54, LAKE-55, LAKE-56."""
    columns = ["mobile", "customInfo", "extra_fields"]
    (masked,) = local.contacts(usernames=["wxid_b"], columns=columns).table().to_pylist()
    assert masked == {
        "mobile": "139****8264",
        "customInfo": '{"detailVisible":1,"detail":"***"}',
        "extra_fields": '{"mobile":"139****8264"}',
    }
    (clear,) = local.contacts(usernames=["wxid_b"], columns=columns, unmask=True).table().to_pylist()
    assert (clear["mobile"], clear["customInfo"]) == ("13905718264", SECRET)


def test_the_row_that_changed_last_of_lake_and_archive(people: Path, local: Lake) -> None:
    """LAKE-65: one row per username, also when an older one is archived."""
    append(
        people.parent / "archive",
        contact("wxid_b", DAY - timedelta(days=200), alias="old"),
        contact("wxid_old"),
    )
    found = local.contacts(usernames=["wxid_b", "wxid_old"], columns=["username", "alias"])
    assert found.total == 2
    assert found.table().to_pylist() == [
        {"username": "wxid_b", "alias": ""},
        {"username": "wxid_old", "alias": ""},
    ]
    assert names(local, usernames=["wxid_old"], include_archive=False) == []


def test_a_damaged_file_is_named(people: Path, local: Lake) -> None:
    """LAKE-90."""
    broken = sorted((people / "contacts").glob("year=*/**/*.parquet"))[0]
    broken.write_bytes(b"")
    found = local.contacts()
    assert found.table().num_rows == 3
    assert [broken.name in warning for warning in found.warnings] == [True]


async def test_http(http: httpx.AsyncClient, people: Path) -> None:
    asked = {"deleted": "false", "chatroom": "0", "columns": "username,mobile", "limit": "1"}
    answer = await http.get("/api/v1/contacts", params=asked)
    assert answer.json() == {
        "total": 2,
        "items": [{"username": "wxid_b", "mobile": "139****8264"}],
        "limit": 1,
        "offset": 0,
        "warnings": [],
    }
    since = await http.get("/api/v1/contacts?changed_since=2026-03-16&columns=username")
    assert [row["username"] for row in since.json()["items"]] == ["1@chatroom", "x@chatroom.example"]
    two = [("username", "wxid_a"), ("username", "wxid_b"), ("columns", "username")]
    as_csv = await http.get("/api/v1/contacts", params=two, headers={"Accept": "text/csv"})
    assert as_csv.text.splitlines() == ['"username"', '"wxid_a"', '"wxid_b"']
    moment = await http.get("/api/v1/contacts?changed_since=2026-03-17T08:00:00+08:00")
    assert moment.json()["total"] == 1
    row = (await http.get("/api/v1/contacts?username=wxid_b")).json()["items"][0]
    assert list(row) == list(CONTACT_COLUMNS)
    assert row["ingestion_time"] == "2026-03-14T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("deleted=maybe", "deleted"),
        ("changed_since=yesterday", "changed_since"),
        ("changed_since=2026-02-30", "changed_since"),
        ("columns=nope", "columns"),
        ("columns=row_order", "columns"),
        ("start=2026-03-14", "start"),
        ("limit=10001", "limit"),
        ("chatroom=true&chatroom=true", "chatroom"),
    ],
)
async def test_http_refusals_name_the_parameter(
    http: httpx.AsyncClient, people: Path, query: str, named: str
) -> None:
    answer = await http.get(f"/api/v1/contacts?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["details"] == {"parameter": named}


async def test_clear_values_need_the_right(http: httpx.AsyncClient, people: Path) -> None:
    url = "/api/v1/contacts?username=wxid_b&unmask=true&columns=mobile"
    assert (await http.get(url)).status_code == 403
    allowed = await http.get(url, headers={"X-API-Key": "clear"})
    assert allowed.json()["items"] == [{"mobile": "13905718264"}]


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


async def test_grpc(stub: query_pb2_grpc.QueryServiceAsyncStub, people: Path) -> None:
    async def found(metadata: Any = READER, **asked: Any) -> pb.SearchContactsResponse:
        return await stub.SearchContacts(pb.SearchContactsRequest(**asked), metadata=metadata)

    answer = await found(deleted=False, chatroom=False, limit=1)
    assert answer.total == 2
    (row,) = answer.items
    assert (row.username, row.mobile, row.nick_name) == ("wxid_b", "139****8264", '{"string":"王敏"}')
    assert row.custom_info == '{"detailVisible":1,"detail":"***"}'
    assert (row.ingestion_time, row.day) == (int(DAY.timestamp()), 14)
    assert (await found(deleted=True)).items[0].delete_flag == 1
    assert (await found(username=pb.StringSet())).total == 0
    since = int(datetime(2026, 3, 16, tzinfo=UTC).timestamp())
    assert (await found(changed_since=since)).total == 2
    clear = await found(CLEAR, username=pb.StringSet(values=["wxid_b"]), columns=["customInfo"], unmask=True)
    assert clear.items == [pb.Contact(custom_info=SECRET)]
    for asked, named in (({"columns": ["nope"]}, "columns"), ({"changed_since": 2**62}, "changed_since")):
        with pytest.raises(grpc.aio.AioRpcError, match=named) as refused:
            await found(**asked)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.aio.AioRpcError) as forbidden:
        await found(unmask=True)
    assert forbidden.value.code() is grpc.StatusCode.PERMISSION_DENIED
