"""Every call has a deadline and the caller's key, whichever client makes it."""

import asyncio
import inspect
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from threading import Event
from typing import Any

import grpc
import pyarrow as pa
import pytest

from millrace import AsyncClient, Client
from millrace.errors import DeadlineExceededError
from millrace.installation import PORTS, Installation
from millrace.query.v1 import query_pb2
from millrace_testkit.ports import free_offset

KEY = "idgen_demo_x"
DAY = "2026-01-01"
TIMEOUT_S = 7.0

CALLS: dict[str, Callable[[Any], Any]] = {
    "Publish": lambda client: client.publish([{"guid": "g"}]),
    "Search": lambda client: client.search(DAY, DAY),
    "SearchArrow": lambda client: client.search_arrow(DAY, DAY),
    "GetByIds": lambda client: client.get(["1"]),
    "Count": lambda client: client.count(DAY, DAY),
    "Sql": lambda client: client.sql_csv("SELECT 1"),
    "Generate": lambda client: client.generate("order-id"),
    "BatchGenerate": lambda client: client.batch("order-id", 2),
    "Parse": lambda client: client.parse("1"),
}


class Recording(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Answers any method with an empty message, or never; keeps how long each call had and whose key it carried."""

    def __init__(self) -> None:
        self.calls: dict[str, tuple[float | None, str | None]] = {}
        self.answering = Event()
        self.answering.set()

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        name = details.method.rpartition("/")[2]

        def answer(_request: bytes, context: Any) -> bytes:
            key = dict(context.invocation_metadata()).get("x-api-key")
            self.calls[name] = context.time_remaining(), key
            self.answering.wait(TIMEOUT_S)
            return _EMPTY_TABLE if name == "SearchArrow" else b""

        return grpc.unary_unary_rpc_method_handler(answer)


def _empty_table() -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([])):
        pass
    return query_pb2.SearchArrowResponse(ipc=sink.getvalue().to_pybytes()).SerializeToString()


_EMPTY_TABLE = _empty_table()


@pytest.fixture
def recording() -> Iterator[tuple[Recording, Installation]]:
    handler, offset = Recording(), free_offset()
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[handler])
    for service in ("id-service", "ingest-service", "query-service"):
        server.add_insecure_port(f"127.0.0.1:{PORTS[service].grpc + offset}")
    server.start()
    yield handler, Installation(port_offset=offset, api_key=KEY)
    handler.answering.set()
    server.stop(None).wait()


def called(kind: type[Any], installation: Installation, timeout_s: float, *names: str) -> None:
    """Make these calls by a client of the kind."""

    async def asynchronously() -> None:
        async with kind(installation=installation, timeout_s=timeout_s) as client:
            for name in names:
                await CALLS[name](client)

    if kind is AsyncClient:
        asyncio.run(asynchronously())
        return
    with kind(installation=installation, timeout_s=timeout_s) as client:
        for name in names:
            CALLS[name](client)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_every_call_has_a_deadline_and_the_key(
    recording: tuple[Recording, Installation], kind: type[Any]
) -> None:
    handler, installation = recording
    called(kind, installation, TIMEOUT_S, *CALLS)
    assert set(handler.calls) == set(CALLS)
    for name, (left, key) in handler.calls.items():
        assert left is not None, name
        assert 0 < left < TIMEOUT_S + 1, name
        assert key == KEY, name


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_no_public_method_is_left_out(kind: type[Any]) -> None:
    methods = {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}
    tried = {"publish", "search", "search_arrow", "get", "count", "generate", "batch", "parse"}
    tried |= {"sql", "sql_csv", "sql_arrow"}  # one call, in three forms
    assert methods - tried == {"close", "publish_batches"}


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("name", ["Publish", "Count", "SearchArrow"])
def test_a_service_that_does_not_answer_is_given_up_in_time(
    recording: tuple[Recording, Installation], kind: type[Any], name: str
) -> None:
    handler, installation = recording
    handler.answering.clear()
    begun = time.monotonic()
    with pytest.raises(DeadlineExceededError, match="no answer from 127"):
        called(kind, installation, 0.3, name)
    assert time.monotonic() - begun < TIMEOUT_S
