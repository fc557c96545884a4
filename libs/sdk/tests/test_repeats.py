"""What is repeated by itself when a service cannot answer, and what never is."""

from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest

from idgen.v1 import idgen_pb2, idgen_pb2_grpc
from millrace import Client
from millrace.errors import UnavailableError
from millrace.ingest.v1 import ingest_pb2_grpc
from millrace.installation import PORTS, Installation
from millrace.query.v1 import query_pb2, query_pb2_grpc
from millrace_testkit.ports import free_offset


class Faltering(
    idgen_pb2_grpc.IdServiceServicer,
    ingest_pb2_grpc.IngestServiceServicer,
    query_pb2_grpc.QueryServiceServicer,
):
    """Answers every third call alone."""

    def __init__(self) -> None:
        self.calls = 0

    def _answer(self, context: Any, response: Any) -> Any:
        self.calls += 1
        if self.calls % 3:
            context.set_trailing_metadata((("idgen-error-code", "IDGEN-COMMON-0005"),))
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return response

    def Generate(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._answer(context, idgen_pb2.GenerateResponse(id="7"))

    def Count(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._answer(context, query_pb2.CountResponse(total=7))

    def Publish(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._answer(context, None)


@pytest.fixture
def faltering() -> Iterator[tuple[Faltering, Client]]:
    servicer, offset = Faltering(), free_offset()
    servers = []
    for service, add in (
        ("id-service", idgen_pb2_grpc.add_IdServiceServicer_to_server),
        ("ingest-service", ingest_pb2_grpc.add_IngestServiceServicer_to_server),
        ("query-service", query_pb2_grpc.add_QueryServiceServicer_to_server),
    ):
        server = grpc.server(futures.ThreadPoolExecutor(1))
        add(servicer, server)
        server.add_insecure_port(f"127.0.0.1:{PORTS[service].grpc + offset}")
        server.start()
        servers.append(server)
    with Client(installation=Installation(port_offset=offset, api_key="idgen_demo_x")) as client:
        yield servicer, client
    for server in servers:
        server.stop(None).wait()


def test_reads_and_ids_are_repeated(faltering: tuple[Faltering, Client]) -> None:
    servicer, client = faltering
    assert client.count("2026-01-01", "2026-01-02") == 7
    assert client.generate("order-id").id == "7"
    assert servicer.calls == 6


def test_payloads_are_sent_once(faltering: tuple[Faltering, Client]) -> None:
    servicer, client = faltering
    with pytest.raises(UnavailableError):
        client.publish([{"guid": "g"}])
    assert servicer.calls == 1
