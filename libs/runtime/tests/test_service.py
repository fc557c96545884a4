"""`serving`: one service on its three ports."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from idgen.v1 import idgen_pb2_grpc
from millrace_runtime.http import create_app
from millrace_runtime.listen import PortTakenError
from millrace_runtime.metrics import Metric, MetricTable
from millrace_runtime.service import PORTS, Endpoint, Service, serving
from millrace_testkit.clock import ManualClock


@pytest.fixture
def demo(clock: ManualClock) -> Service:
    app = create_app("demo", "1.0.0", clock=clock)

    @app.get("/hello")
    async def hello() -> str:
        return "world"

    servicer = idgen_pb2_grpc.IdServiceServicer()
    return Service(
        "demo",
        http=app,
        grpc=[lambda server: idgen_pb2_grpc.add_IdServiceServicer_to_server(servicer, server)],
        grpc_service_names=["idgen.v1.IdService"],
    )


async def get(port: int, path: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"http://127.0.0.1:{port}{path}")


async def test_all_three_ports_answer_inside_the_block_and_none_after(
    demo: Service, endpoint: Endpoint
) -> None:
    metrics = MetricTable(Metric("millrace_lag", "gauge", "lines", "Lines not landed")).build(demo.registry)
    metrics.gauge("millrace_lag").set(4)
    async with serving(demo, endpoint):
        assert (await get(endpoint.http_port, "/hello")).json() == "world"
        async with grpc.aio.insecure_channel(f"127.0.0.1:{endpoint.grpc_port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            answer = await stub.Check(health_pb2.HealthCheckRequest(service="idgen.v1.IdService"))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert (await get(endpoint.management_port, "/live")).json() == {"live": True}
        assert (await get(endpoint.management_port, "/ready")).status_code == 200
        measured = await get(endpoint.management_port, "/metrics")
        assert "millrace_lag 4.0" in measured.text
        assert measured.headers["content-type"].startswith("text/plain; version=")
    for port in (endpoint.http_port, endpoint.grpc_port, endpoint.management_port):
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", port)) != 0


async def test_readiness_turns_with_the_checks_and_names_what_fails(
    demo: Service, endpoint: Endpoint
) -> None:
    disk_full = True

    async def journal() -> None:
        if disk_full:
            raise OSError("no space left")

    demo.health.add("journal", journal)
    async with serving(demo, endpoint):
        failing = await get(endpoint.management_port, "/ready")
        assert failing.status_code == 503
        assert failing.json() == {
            "ready": False,
            "failing": ["journal"],
            "checks": {"journal": "no space left"},
        }
        assert (await get(endpoint.management_port, "/live")).status_code == 200
        disk_full = False
        assert (await get(endpoint.management_port, "/ready")).status_code == 200


async def test_a_stop_turns_not_ready_first_and_finishes_the_request(
    demo: Service, endpoint: Endpoint
) -> None:
    entered, let = asyncio.Event(), asyncio.Event()

    @demo.http.get("/slow")  # type: ignore[untyped-decorator]
    async def slow() -> str:
        entered.set()
        await let.wait()
        return "done"

    started, leave = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        async with serving(demo, endpoint):
            started.set()
            await leave.wait()

    running = asyncio.create_task(run())
    await started.wait()
    request = asyncio.create_task(get(endpoint.http_port, "/slow"))
    await entered.wait()
    leave.set()
    await asyncio.sleep(0)
    report = await get(endpoint.management_port, "/ready")
    assert (report.status_code, report.json()["failing"]) == (503, ["draining"])
    let.set()
    assert (await request).json() == "done"
    await running


async def reachable(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@pytest.mark.parametrize("taken", ["http_port", "grpc_port", "management_port"])
async def test_a_taken_port_ends_the_start_naming_port_and_option(
    demo: Service, endpoint: Endpoint, taken: str
) -> None:
    port: int = getattr(endpoint, taken)
    taken_by_others = rf"port {port} .* MILLRACE_PORT_OFFSET / --port-offset"
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortTakenError, match=taken_by_others):
        async with serving(demo, endpoint):
            raise AssertionError("must not get here")
    async with serving(demo, endpoint):  # nothing was left half started
        assert (await get(endpoint.http_port, "/hello")).status_code == 200


async def test_a_service_without_http_or_grpc_has_only_its_management_port(endpoint: Endpoint) -> None:
    with socket.create_server(("127.0.0.1", endpoint.http_port)):
        async with serving(Service("lake-writer"), endpoint):
            assert (await get(endpoint.management_port, "/ready")).status_code == 200
            assert not await reachable(endpoint.grpc_port)


async def test_several_services_live_in_one_loop(demo: Service, free_port: Callable[[], int]) -> None:
    first = Endpoint("127.0.0.1", free_port(), free_port(), free_port())
    second = Endpoint("127.0.0.1", free_port(), free_port(), free_port())
    async with serving(demo, first):
        async with serving(Service("other", http=demo.http), second):
            assert (await get(second.http_port, "/hello")).status_code == 200
        assert (await get(first.http_port, "/hello")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("POST", "/ready", 405), ("HEAD", "/live", 200)]
)
async def test_the_management_port_has_three_pages(
    endpoint: Endpoint, method: str, path: str, status: int
) -> None:
    async with serving(Service("lake-writer"), endpoint), httpx.AsyncClient() as client:
        response = await client.request(method, f"http://127.0.0.1:{endpoint.management_port}{path}")
    assert response.status_code == status


def test_the_default_ports_are_those_of_the_documentation() -> None:
    table: dict[str, Any] = {
        name: (point.http_port, point.grpc_port, point.management_port) for name, point in PORTS.items()
    }
    assert table == {
        "id-service": (8080, 50051, 9091),
        "ingest-service": (8000, 50052, 9092),
        "query-service": (8081, 50053, 9093),
        "auth-service": (8082, 50054, 9094),
    }


def test_an_offset_moves_every_port_and_keeps_the_host() -> None:
    point = PORTS["id-service"].shifted(100).on("127.0.0.1")
    assert point == Endpoint("127.0.0.1", 8180, 50151, 9191)


async def test_a_service_that_drains_serves_on_and_is_not_ready(demo: Service, endpoint: Endpoint) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving(demo, endpoint, drain_s=60))
        leaving = asyncio.create_task(stack.aclose())
        async with asyncio.timeout(5):
            while (await get(endpoint.management_port, "/ready")).status_code == 200:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (await get(endpoint.http_port, "/hello")).json() == "world"
        leaving.cancel()
        await asyncio.wait({leaving})
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", endpoint.http_port)) != 0
