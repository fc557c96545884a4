"""A service as a value, and the ports it is served on."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from millrace_runtime.health import Health
from millrace_runtime.http import HttpServer, Interface
from millrace_runtime.listen import PortTakenError, probe
from millrace_runtime.logs import get_logger
from millrace_runtime.management import ManagementPort
from millrace_runtime.tls import ServerTls
from millrace_runtime.tracing import metrics_of, tracer

if TYPE_CHECKING:
    from millrace_runtime.grpc import Register

log = get_logger(__name__)

PORT_OPTION = "MILLRACE_PORT_OFFSET / --port-offset"
GRACE_S = 10.0


@dataclass(frozen=True)
class Endpoint:
    """Where one service listens."""

    host: str
    http_port: int
    grpc_port: int
    management_port: int

    def shifted(self, offset: int) -> "Endpoint":
        """The same with `offset` added to every port."""
        return Endpoint(
            self.host, self.http_port + offset, self.grpc_port + offset, self.management_port + offset
        )

    def on(self, host: str) -> "Endpoint":
        """The same ports on another address of this host."""
        return Endpoint(host, self.http_port, self.grpc_port, self.management_port)


PORTS: dict[str, Endpoint] = {
    "id-service": Endpoint("0.0.0.0", 8080, 50051, 9091),  # noqa: S104 a service alone serves its network
    "ingest-service": Endpoint("0.0.0.0", 8000, 50052, 9092),  # noqa: S104
    "query-service": Endpoint("0.0.0.0", 8081, 50053, 9093),  # noqa: S104
    "auth-service": Endpoint("0.0.0.0", 8082, 50054, 9094),  # noqa: S104
}
"""Defaults by service name."""

PROCESS_PORTS: dict[str, int] = {"relay": 9095, "lake-writer": 9096, "maintenance": 9097}
"""Management ports of processes that serve nothing else, so that all of them may live on one host."""


def process_endpoint(name: str, offset: int) -> Endpoint:
    """Where the process of ingest-service listens that is called `name`; its other ports stay closed."""
    return replace(PORTS["ingest-service"], management_port=PROCESS_PORTS[name]).shifted(offset)


@dataclass
class Service:
    """What a compose function yields: the surfaces of one service, ready to be served.

    `http` is an ASGI or RSGI application by `http_interface`, None for no HTTP port; without
    `grpc` there is no gRPC port. The management port is always there.
    """

    name: str
    http: Any = None
    http_interface: Interface = "asgi"
    http_backpressure: int | None = None
    grpc: Sequence["Register"] = ()
    grpc_service_names: Sequence[str] = ()
    interceptors: Sequence[Any] = ()
    health: Health = field(default_factory=Health)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)


@asynccontextmanager
async def serving(
    service: Service,
    endpoint: Endpoint,
    *,
    port_option: str = PORT_OPTION,
    reflection: bool = True,
    tls: ServerTls | None = None,
    drain_s: float = 0,
    grace_s: float = GRACE_S,
    management: ManagementPort | None = None,
) -> AsyncIterator[None]:
    """Serve until the block is left; inside the block every port answers.

    All ports are tried before any is opened, so a taken one leaves nothing half started:
    `PortTakenError` names the port and `port_option`. On leaving, the service turns not ready and goes on
    serving for `drain_s` seconds (`millrace_runtime.drain`), then the requests in progress finish for at most
    `grace_s` seconds, then the management port closes. `tls` is for HTTP and gRPC; the management port is plain.
    `management` is one that is open already, and stays so. Where the process exports (`millrace_runtime.tracing`),
    sampled gRPC calls become spans, and the service's metrics are sent.
    """
    if management is None:
        probe(endpoint.host, endpoint.management_port, port_option)
    _probe_all(service, endpoint, port_option)
    health = service.health
    health.starting, health.draining = True, False
    async with AsyncExitStack() as open_servers:
        servers = _surfaces(service, endpoint, reflection, tls)
        try:
            if management is None:
                management = await open_servers.enter_async_context(
                    ManagementPort(endpoint.host, endpoint.management_port, port_option)
                )
            management.show(service)
            for server in servers:
                await server.start()
                open_servers.push_async_callback(server.stop, grace_s)
        except PortTakenError as error:
            raise PortTakenError(error.host, error.port, port_option) from None
        open_servers.enter_context(metrics_of(service.name, service.registry))
        health.starting = False
        log.info(
            "service_started",
            name=service.name,
            host=endpoint.host,
            http=endpoint.http_port if service.http is not None else None,
            grpc=endpoint.grpc_port if service.grpc else None,
            management=endpoint.management_port,
            tls=tls is not None,
        )
        try:
            yield
            health.draining = True
            if drain_s:
                log.info("service_draining", name=service.name, seconds=drain_s)
                for server in servers:
                    if isinstance(server, HttpServer):
                        server.drain()
                await asyncio.sleep(drain_s)
        finally:
            health.draining = True
            await asyncio.gather(*(server.stop(grace_s) for server in servers))
            log.info("service_stopped", name=service.name)


def _surfaces(service: Service, endpoint: Endpoint, reflection: bool, tls: ServerTls | None) -> list[Any]:
    servers: list[Any] = []
    if service.grpc:
        from millrace_runtime.grpc import GrpcServer

        servers.append(
            GrpcServer(
                service.grpc,
                service_names=service.grpc_service_names,
                host=endpoint.host,
                port=endpoint.grpc_port,
                interceptors=service.interceptors,
                reflection=reflection,
                health=service.health,
                tls=tls,
                tracer=tracer(service.name),
            )
        )
    if service.http is not None:
        servers.append(
            HttpServer(
                service.http,
                interface=service.http_interface,
                host=endpoint.host,
                port=endpoint.http_port,
                backpressure=service.http_backpressure,
                tls=tls,
            )
        )
    return servers


def _probe_all(service: Service, endpoint: Endpoint, port_option: str) -> None:
    if service.grpc:
        probe(endpoint.host, endpoint.grpc_port, port_option)
    if service.http is not None:
        probe(endpoint.host, endpoint.http_port, port_option)
