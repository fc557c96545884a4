"""gRPC: one asyncio server with health, reflection and errors translated."""

from __future__ import annotations  # the stubs' generic classes are not generic at run time

from collections.abc import Callable, Sequence
from typing import Any, cast

import grpc

from millrace_runtime.grpc_errors import TranslatingRegistrar
from millrace_runtime.grpc_status import SERVICE_NAME as HEALTH_NAME
from millrace_runtime.grpc_status import HealthServicer
from millrace_runtime.health import Health
from millrace_runtime.listen import PortTakenError, probe
from millrace_runtime.tls import ServerTls
from millrace_runtime.tracing import Tracer

Register = Callable[[grpc.aio.Server], None]
"""Adds one servicer to the server: `lambda server: add_IdServiceServicer_to_server(servicer, server)`."""

MAX_MESSAGE_BYTES = 64 * 1024 * 1024


class GrpcServer:
    """One server on one port. `service_names` are the full names for health and reflection;
    `health` decides what `grpc.health.v1` answers (always serving without it). With `tls`, TLS 1.2 or newer is
    the only way in. With a `tracer`, sampled calls become spans.

    A `ServiceError` raised in a method becomes its status with the trailer `idgen-error-code`, any
    other exception INTERNAL without details; `x-request-id` of the metadata is bound in the logs.
    """

    def __init__(
        self,
        register: Sequence[Register],
        *,
        service_names: Sequence[str],
        host: str,
        port: int,
        interceptors: Sequence[grpc.aio.ServerInterceptor[Any, Any]] = (),
        reflection: bool,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        health: Health | None = None,
        tls: ServerTls | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._register = tuple(register)
        self._service_names = tuple(service_names)
        self.host = host
        self.port = port
        self._interceptors = tuple(interceptors)
        self._reflection = reflection
        self._max_message_bytes = max_message_bytes
        self._health = health or Health()
        self._tls = tls
        self._tracer = tracer
        self._status: HealthServicer | None = None
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Return when calls are answered. Raises `PortTakenError`, or `ListenError` if the address
        cannot be used."""
        probe(self.host, self.port)
        server = grpc.aio.server(
            interceptors=self._interceptors,
            options=(
                ("grpc.so_reuseport", 0),  # with it a second process would share the port in silence
                ("grpc.max_send_message_length", self._max_message_bytes),
                ("grpc.max_receive_message_length", self._max_message_bytes),
                # Clients of ours ask this often whether the connection still lives; the default takes it ill.
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
            ),
        )
        registrar = cast("grpc.aio.Server", TranslatingRegistrar(server, self._tracer))
        for add in self._register:
            add(registrar)
        self._status = HealthServicer(self._health, self._service_names)
        _add_health(self._status, server)
        if self._reflection:
            _add_reflection((*self._service_names, HEALTH_NAME), server)
        host = f"[{self.host}]" if ":" in self.host else self.host
        try:
            if self._tls is None:
                server.add_insecure_port(f"{host}:{self.port}")
            else:
                pair = (self._tls.key, self._tls.certificate)
                server.add_secure_port(f"{host}:{self.port}", grpc.ssl_server_credentials([pair]))
        except RuntimeError:
            await server.stop(None)
            raise PortTakenError(self.host, self.port) from None
        await server.start()
        self._server = server

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, let those in progress finish for at most `grace_s` seconds, cancel the rest."""
        server, self._server = self._server, None
        if server is None:
            return
        if self._status is not None:
            self._status.close()
        await server.stop(grace_s)


def _add_health(servicer: HealthServicer, server: grpc.aio.Server) -> None:
    from grpc_health.v1 import health_pb2_grpc

    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)


def _add_reflection(service_names: Sequence[str], server: grpc.aio.Server) -> None:
    from grpc_reflection.v1alpha import reflection

    reflection.enable_server_reflection((*service_names, reflection.SERVICE_NAME), server)
