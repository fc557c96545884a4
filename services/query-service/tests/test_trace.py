"""A sampled question: a span for the request, one for what the lake was asked; a single message is named."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from millrace_testkit.clock import ManualClock
from millrace_testkit.messages_lake import MessagesLake, message
from millrace_testkit.otlp import OtlpReceiver, SpanSeen
from query_service.compose import compose
from query_service.settings import QuerySettings

from .conftest import Keys

TRACE, CALLER = "ab" * 16, "cd" * 8
SAMPLED = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
TODAY = {"start": "2026-03-14", "end": "2026-03-14"}


@pytest.fixture
def receiver() -> Any:
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
async def http(
    lake: MessagesLake, clock: ManualClock, receiver: OtlpReceiver
) -> AsyncIterator[httpx.AsyncClient]:
    lake.after_commit = lambda: clock.advance(1.0)
    settings = QuerySettings(lake=str(lake.root), query_memory="256MB")
    async with receiver.exporting(), compose(settings, verifier=Keys(), clock=clock) as service:
        transport = httpx.ASGITransport(app=service.http, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://lake", headers={"X-API-Key": "reader"}
        ) as client:
            yield client


def arrived(receiver: OtlpReceiver) -> tuple[SpanSeen, SpanSeen]:
    """The span of the one sampled request, and the one within it."""
    receiver.wait_for(lambda seen: len(seen.spans) >= 2, "2 spans")
    inner, outer = sorted(receiver.spans, key=lambda span: span.kind)
    assert (outer.trace, outer.parent, outer.kind) == (TRACE, CALLER, "server")
    assert (inner.trace, inner.parent, inner.kind) == (TRACE, outer.id, "internal")
    assert not any("合同".encode() in span.raw or b"reader" in span.raw for span in (inner, outer))
    return outer, inner


@pytest.mark.parametrize(
    ("columns", "origin"),
    [(None, "door/2026-03-14/3/0"), ("msg_id,src_door,src_line", None), ("msg_id", None)],
)
async def test_an_answer_about_one_message_names_its_origin(
    http: httpx.AsyncClient,
    lake: MessagesLake,
    receiver: OtlpReceiver,
    columns: str | None,
    origin: str | None,
) -> None:
    lake.append(*(message(n) for n in range(4)))
    params = {} if columns is None else {"columns": columns}
    path = f"/api/v1/messages/{message(2)['msg_id']}"
    assert (await http.get(path, params=params)).status_code == 200
    assert (await http.get(path, params=params, headers=SAMPLED)).status_code == 200
    outer, inner = arrived(receiver)
    assert (outer.name, inner.name) == ("GET /api/v1/messages/{msg_id}", "lake lookup")
    assert outer.attributes.get("millrace.origin") == origin
    assert inner.attributes == {"millrace.rows": 1, "millrace.files_opened": 1}


async def test_an_answer_about_no_message_names_none(
    http: httpx.AsyncClient, lake: MessagesLake, receiver: OtlpReceiver
) -> None:
    lake.append(message(1))
    assert (await http.get("/api/v1/messages/none", headers=SAMPLED)).status_code == 404
    outer, inner = arrived(receiver)
    assert "millrace.origin" not in outer.attributes
    assert (outer.failed, inner.attributes["millrace.rows"]) == (False, 0)


@pytest.mark.parametrize(
    ("accept", "name"), [("application/json", "lake search"), ("text/csv", "lake stream")]
)
async def test_a_search_is_traced_without_what_was_asked(
    http: httpx.AsyncClient, lake: MessagesLake, receiver: OtlpReceiver, accept: str, name: str
) -> None:
    lake.append(*(message(n) for n in range(9)))
    asked = {**TODAY, "sender": "wxid_r4m8ywz6pd"}
    answer = await http.get("/api/v1/messages", params=asked, headers={**SAMPLED, "Accept": accept})
    assert answer.status_code == 200
    outer, inner = arrived(receiver)
    assert (outer.name, inner.name) == ("GET /api/v1/messages", name)
    assert inner.attributes["millrace.rows"] == 9
    assert not any(b"wxid" in span.raw for span in (outer, inner))


async def test_a_lake_that_cannot_be_read_is_a_failed_step(
    http: httpx.AsyncClient, lake: MessagesLake, clock: ManualClock, receiver: OtlpReceiver
) -> None:
    lake.append(message(1))
    for file in (lake.table / "_delta_log").iterdir():
        file.write_bytes(b"nonsense")
    clock.advance(5.0)
    assert (await http.get("/api/v1/messages", params=TODAY, headers=SAMPLED)).status_code == 503
    outer, inner = arrived(receiver)
    assert (outer.failed, inner.failed) == (True, True)
    assert inner.attributes == {"error.type": "ServiceError"}
    assert not any(str(lake.root).encode() in span.raw for span in (outer, inner))
