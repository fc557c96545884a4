"""`grpc.health.v1.Health`, answered from a service's `Health`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from millrace_runtime.health import Health

SERVICE_NAME: str = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Check asks the checks at once; Watch hears of a change within `interval_s`.

    The empty name stands for the whole server; other names than the served ones are unknown.
    """

    def __init__(self, health: Health, service_names: Sequence[str], *, interval_s: float = 1.0) -> None:
        self._health = health
        self._names = frozenset(("", *service_names))
        self._interval_s = interval_s
        self._closing = asyncio.Event()

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 the protocol's name
        if request.service not in self._names:
            await context.abort(grpc.StatusCode.NOT_FOUND, "this server has no such service")
        return health_pb2.HealthCheckResponse(status=await self._status())

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        last = None
        while True:
            current = await self._status() if request.service in self._names else _UNKNOWN
            if current != last:
                yield health_pb2.HealthCheckResponse(status=current)
                last = current
            if self._closing.is_set():
                return
            try:
                async with asyncio.timeout(self._interval_s):
                    await self._closing.wait()
            except TimeoutError:
                continue

    def close(self) -> None:
        """End every Watch after a last answer: an open one would use up the whole grace of a stop."""
        self._closing.set()

    async def _status(self) -> Any:
        if self._closing.is_set():
            return _NOT_SERVING
        report = await self._health.ready()
        return _SERVING if report["ready"] else _NOT_SERVING
