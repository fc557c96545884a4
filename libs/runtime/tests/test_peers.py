"""Calls from one service to another: deadlines, repeats, and a peer that goes away and comes back."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from millrace.auth.v1 import auth_pb2, auth_pb2_grpc
from millrace_runtime.auth import GrpcVerifier
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.grpc import GrpcServer
from millrace_runtime.logs import request_id
from millrace_runtime.peers import Peer, open_channel

WITHIN_S = 10.0
CHECK_KEY = "millrace.auth.v1.AuthService/CheckKey"


class Auth(auth_pb2_grpc.AuthServiceServicer):
    """Refuses the first `refusals` calls as one that cannot answer now."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.calls: list[str] = []
        self.remaining: float | None = None
        self.request_ids: list[str] = []

    async def _answer(self, name: str, context: Any, response: Any) -> Any:
        self.calls.append(name)
        self.remaining = context.time_remaining()
        self.request_ids += [value for key, value in context.invocation_metadata() if key == "x-request-id"]
        if len(self.calls) <= self.refusals:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return response

    async def CheckKey(self, request: Any, context: Any) -> Any:  # noqa: N802
        key = auth_pb2.Key(id="k-1", role=auth_pb2.ROLE_ADMIN)
        return await self._answer("CheckKey", context, auth_pb2.CheckKeyResponse(key=key))

    async def RevokeKey(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._answer("RevokeKey", context, auth_pb2.RevokeKeyResponse())


@asynccontextmanager
async def serving(auth: Auth, port: int) -> AsyncIterator[None]:
    server = GrpcServer(
        [lambda server: auth_pb2_grpc.add_AuthServiceServicer_to_server(auth, server)],
        service_names=[],
        host="127.0.0.1",
        port=port,
        reflection=False,
    )
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)


async def test_a_key_check_has_a_deadline_and_the_requests_own_id(free_port: Callable[[], int]) -> None:
    auth, port = Auth(), free_port()
    verifier = GrpcVerifier(f"127.0.0.1:{port}", timeout_s=5.0)
    token = request_id.set("the-callers-own")
    try:
        async with serving(auth, port):
            await verifier.check("key")
    finally:
        request_id.reset(token)
        await verifier.close()
    assert auth.request_ids == ["the-callers-own"]
    assert auth.remaining is not None
    assert 0 < auth.remaining < 6


async def test_a_read_is_repeated_and_a_write_never(free_port: Callable[[], int]) -> None:
    auth, port = Auth(refusals=2), free_port()
    channel = open_channel(Peer(f"127.0.0.1:{port}"), repeated=(CHECK_KEY,))
    stub: Any = auth_pb2_grpc.AuthServiceStub(channel)
    async with serving(auth, port), channel:
        await stub.CheckKey(auth_pb2.CheckKeyRequest(), timeout=WITHIN_S)
        assert auth.calls == ["CheckKey"] * 3

        auth.calls.clear()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.RevokeKey(auth_pb2.RevokeKeyRequest(), timeout=WITHIN_S)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert auth.calls == ["RevokeKey"]


async def test_a_silent_peer_is_given_up_in_time() -> None:
    """It accepts connections and says nothing, as one whose answers get lost."""
    connected = []

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(writer)

    silent = await asyncio.start_server(accept, "127.0.0.1", 0)
    verifier = GrpcVerifier(f"127.0.0.1:{silent.sockets[0].getsockname()[1]}", timeout_s=0.3)
    begun = time.monotonic()
    with pytest.raises(ServiceError) as refused:
        await verifier.check("key")
    took = time.monotonic() - begun
    await verifier.close()
    silent.close()
    for writer in connected:
        writer.close()
        await writer.wait_closed()
    assert refused.value.code is ErrorCode.UNAVAILABLE
    assert took < WITHIN_S


async def test_a_peer_that_comes_back_is_found_by_itself(free_port: Callable[[], int]) -> None:
    port = free_port()
    verifier = GrpcVerifier(f"127.0.0.1:{port}")
    for _ in range(2):
        with pytest.raises(ServiceError) as refused:
            await verifier.check("key")
        assert refused.value.code is ErrorCode.UNAVAILABLE
        async with serving(Auth(), port), asyncio.timeout(WITHIN_S):
            while True:
                try:
                    assert (await verifier.check("key")).key_id == "k-1"
                    break
                except ServiceError:
                    await asyncio.sleep(0.02)
    await verifier.close()
