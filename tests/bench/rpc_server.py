"""A gRPC server whose method does nothing: by itself, or as our services have theirs.

`python -m tests.bench.rpc_server empty|plain|key PORT` serves QueryService.Count until it is stopped. It exports
traces as MILLRACE_OTLP_ENDPOINT and the like say.
"""

import asyncio
import sys
from typing import Any

import grpc

from millrace.query.v1 import query_pb2 as pb
from millrace.query.v1 import query_pb2_grpc
from millrace_runtime.auth import CachedVerifier, Principal, principal_from_metadata
from millrace_runtime.clock import SYSTEM_CLOCK
from millrace_runtime.grpc import GrpcServer
from millrace_runtime.process import run
from millrace_runtime.tracing import TracingSettings, exporting, tracer

SCOPE = "lake:read"


class Counting(query_pb2_grpc.QueryServiceServicer):
    """Answers at once."""

    async def Count(self, request: pb.CountRequest, context: Any) -> pb.CountResponse:  # noqa: N802
        return pb.CountResponse(total=1)


class KeyedCounting(query_pb2_grpc.QueryServiceServicer):
    """Looks at the key first."""

    def __init__(self) -> None:
        self._verifier = CachedVerifier(OneKey(), clock=SYSTEM_CLOCK)

    async def Count(self, request: pb.CountRequest, context: Any) -> pb.CountResponse:  # noqa: N802
        principal = await principal_from_metadata(self._verifier, context)
        principal.require(SCOPE)
        return pb.CountResponse(total=1)


class OneKey:
    """Knows every key."""

    async def check(self, api_key: str) -> Principal:
        """Its holder."""
        return Principal("key", "bench", "user", frozenset({SCOPE}), 0, 0)


async def serve(stop: asyncio.Event) -> None:
    """Until the stop."""
    way, port = sys.argv[1], int(sys.argv[2])
    if way == "empty":
        bare = grpc.aio.server()
        query_pb2_grpc.add_QueryServiceServicer_to_server(Counting(), bare)
        bare.add_insecure_port(f"127.0.0.1:{port}")
        await bare.start()
        await stop.wait()
        await bare.stop(1)
        return
    servicer = KeyedCounting() if way == "key" else Counting()
    async with exporting(TracingSettings.load()):
        server = GrpcServer(
            [lambda added: query_pb2_grpc.add_QueryServiceServicer_to_server(servicer, added)],
            service_names=["millrace.query.v1.QueryService"],
            host="127.0.0.1",
            port=port,
            reflection=False,
            tracer=tracer("query-service"),
        )
        await server.start()
        await stop.wait()
        await server.stop(1)


if __name__ == "__main__":
    sys.exit(run(serve))
