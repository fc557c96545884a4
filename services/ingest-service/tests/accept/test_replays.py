"""Replaying dead letters at the door: gRPC and HTTP, with a key that may publish (LAKE-91)."""

from __future__ import annotations  # the stubs' generic classes are not generic at run time

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from ingest_service.ingest import ingest_directory
from ingest_service.letters.letter import LetterId
from millrace.ingest.v1 import dead_letters_pb2 as pb
from millrace.ingest.v1 import dead_letters_pb2_grpc
from millrace_testkit.builders import message, other
from millrace_testkit.model import read_rows

PUBLISHER = (("x-api-key", "publisher"),)
URL = "/api/v1/dead-letters/replay"


@pytest.fixture
async def lake_door(tmp_path: Path, open_door: Any) -> AsyncIterator[Any]:
    """A door that has taken a message whose time is wrong, and knows the lake in which it is a letter."""
    async with open_door(tmp_path, webhook_lake=tmp_path / "parquet") as door:
        assert (await door.post(message("1", create_time=0))).status_code == 200
        ingest_directory(
            tmp_path / "messages" / "raw", tmp_path / "parquet", tmp_path / "metadata" / "checkpoints"
        )
        yield door


def only_letter(door: Any) -> str:
    (row,) = read_rows(door.data / "parquet" / "dead_letters")
    return str(LetterId(row["src_door"], row["src_file"], row["src_line"], row["src_element"]))


def ids(door: Any) -> list[str]:
    return [row["msg_id"] for row in read_rows(door.data / "parquet" / "messages")]


async def test_http(lake_door: Any) -> None:
    async def ask(body: bytes, key: str = "publisher") -> Any:
        return await lake_door.client.post(URL, content=body, headers={"x-api-key": key})

    name = only_letter(lake_door)
    answer = await ask(b'{"all":true}')
    assert answer.status_code == 200
    told = answer.json()
    assert (told["selected"], told["landed"], told["refused"]) == (1, 0, 1)
    assert told["still_refused"][0]["id"] == name
    mended = b'{"ids":["%b"],"body":%b}' % (name.encode(), message("1"))
    first = await ask(mended)
    assert first.status_code == 200, first.text
    assert first.json()["landed"] == 1
    assert (await ask(mended)).json()["already_landed"] == 1
    assert ids(lake_door) == ["1"]
    for body, status in (
        (b"{}", 400),
        (b'{"all":true,"reason":["x"]}', 400),
        (b'{"ids":["x"]}', 400),
        (b'{"colour":1}', 400),
        (b"no json", 400),
        (b'{"all":true,"body":{}}', 400),
        (b'{"start":"2026-02-30"}', 400),
        (b'{"reason":["no such"]}', 404),
    ):
        assert (await ask(body)).status_code == status, body
    assert (await ask(b'{"all":true}', "reader")).status_code == 403
    assert (await ask(b'{"all":true}', "wrong")).status_code == 401
    assert (await lake_door.client.post(URL, content=b"{}")).status_code == 401
    assert (await lake_door.client.get(URL)).status_code == 405
    # The two routes of the door are as ever.
    assert (await lake_door.post(other(1))).status_code == 200
    assert (await lake_door.health())[0] == 200


async def test_grpc(lake_door: Any) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{lake_door.endpoint.grpc_port}") as channel:
        stub: Any = dead_letters_pb2_grpc.DeadLetterReplayServiceStub(channel)
        name = only_letter(lake_door)
        done = await stub.ReplayDeadLetters(
            pb.ReplayDeadLettersRequest(error_type=["validation_error"]), metadata=PUBLISHER
        )
        assert (done.selected, done.refused, done.still_refused[0].reason) == (1, 1, "out_of_range")
        request = pb.ReplayDeadLettersRequest(ids=[name], body=message("1"))
        assert (await stub.ReplayDeadLetters(request, metadata=PUBLISHER)).landed == 1
        assert (await stub.ReplayDeadLetters(request, metadata=PUBLISHER)).already_landed == 1
        assert ids(lake_door) == ["1"]
        for bad, metadata, code in (
            (pb.ReplayDeadLettersRequest(), PUBLISHER, grpc.StatusCode.INVALID_ARGUMENT),
            (pb.ReplayDeadLettersRequest(ids=["d/f/9/0"]), PUBLISHER, grpc.StatusCode.NOT_FOUND),
            (request, (("x-api-key", "reader"),), grpc.StatusCode.PERMISSION_DENIED),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.ReplayDeadLetters(bad, metadata=metadata)
            assert refused.value.code() == code


async def test_a_door_that_knows_no_lake_has_no_such_route(door: Any) -> None:
    assert (await door.client.post(URL, content=b"{}")).status_code == 404
