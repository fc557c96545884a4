"""Calls to an etcd cluster: the member that answers, the login, time limits, and errors in the port's words."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
from aetcd.rpc import rpc_pb2

from millrace_ports.coordination.errors import CoordinationError, CoordinationRefusedError
from millrace_ports.coordination.etcd.endpoints import Endpoint, make_endpoints
from millrace_ports.coordination.etcd.probe import misconfiguration
from millrace_ports.coordination.etcd.security import EtcdSecurity
from millrace_ports.errors import ClosedError

T = TypeVar("T")

Options = dict[str, Any]
"""Time limit and login, for a call of a stub."""

_OLDEST = (3, 4)
_NEVER_SENT = ("failed to connect to all addresses", "errors resolving")
_NO_OPTIONS: Options = {"metadata": None}
_STALE_LOGIN = ("invalid auth token", "revision of auth store is old")
_LOGIN = "MILLRACE_ETCD_USERNAME and MILLRACE_ETCD_PASSWORD"
_HEALS = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)


class EtcdClient:
    """One etcd cluster of version 3.4 or later. Raises CoordinationUrlError.

    A call is made at one member, and at the next one only if it certainly did not reach the first: nothing is
    done twice. After a failure the next call begins with the next member.
    """

    def __init__(self, url: str, security: EtcdSecurity, *, timeout_s: float) -> None:
        self._endpoints = make_endpoints(url, security)
        self._security = security
        self._timeout_s = timeout_s
        self._current = 0
        self._token: str | None = None
        self._login = asyncio.Lock()
        self._known = False
        self._closed = False

    async def call(self, ask: Callable[[Endpoint, Options], Awaitable[T]]) -> T:
        """What `ask` returns, which makes one call at an endpoint with the options.

        Ends within the time limit. Raises CoordinationError, CoordinationRefusedError and ClosedError.
        """
        return await self._bounded(lambda: self._call(ask))

    async def explained(self, endpoint: Endpoint, error: grpc.aio.AioRpcError) -> CoordinationError:
        """A failure at this member in the words of the port: what to set, or whether to try again."""
        code, details = error.code(), error.details() or ""
        place = endpoint.place
        if code is grpc.StatusCode.PERMISSION_DENIED:
            return CoordinationRefusedError(
                f"MILLRACE_ETCD_USERNAME: the user of etcd at {place} lacks the right to read and write "
                f"keys that begin with /millrace/: {details}"
            )
        if "authentication failed" in details:
            return CoordinationRefusedError(f"{_LOGIN}: etcd at {place} refuses them: {details}")
        if "user name is empty" in details:
            return CoordinationRefusedError(f"{_LOGIN} are not set, but etcd at {place} asks for them")
        if "authentication is not enabled" in details:
            return CoordinationRefusedError(f"{_LOGIN} are set, but etcd at {place} knows no users")
        if code is grpc.StatusCode.UNAVAILABLE:
            wrong = await misconfiguration(endpoint.host, endpoint.port, self._security)
            if wrong is not None:
                return CoordinationRefusedError(f"{wrong} (at {place})")
        return CoordinationError(f"etcd at {place}: {details or code.name}", retryable=code in _HEALS)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    async def close(self) -> None:
        """End all connections and calls."""
        if not self._closed:
            self._closed = True
            await asyncio.gather(*(endpoint.close() for endpoint in self._endpoints))

    async def _bounded(self, work: Callable[[], Awaitable[T]]) -> T:
        if self._closed:
            raise ClosedError("coordination is closed")
        task = asyncio.current_task()
        assert task is not None
        cancels = task.cancelling()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await work()
        except TimeoutError as error:
            raise CoordinationError(
                f"etcd at {self._place} did not answer in time", retryable=True
            ) from error
        except asyncio.CancelledError:
            if self.closed and task.cancelling() == cancels:  # the channel cancels its calls, not us
                raise ClosedError("coordination is closed") from None
            raise

    async def _call(self, ask: Callable[[Endpoint, Options], Awaitable[T]]) -> T:
        if not self._known:
            self._require_version(await self._asked(_status))
            self._known = True
        return await self._asked(ask)

    async def _asked(self, ask: Callable[[Endpoint, Options], Awaitable[T]]) -> T:
        left = len(self._endpoints)
        renewed = False
        while True:
            endpoint = self._endpoints[self._current]
            options = _NO_OPTIONS
            try:
                options = await self._options(endpoint)
                return await ask(endpoint, options)
            except asyncio.CancelledError:  # by the time limit, as a rule
                self._turn_from(endpoint)
                raise
            except grpc.aio.AioRpcError as error:
                details = error.details() or ""
                if any(text in details for text in _STALE_LOGIN) and not renewed:
                    renewed = True
                    self._forget(options)
                    continue
                if error.code() in _HEALS:
                    self._turn_from(endpoint)
                    left -= 1
                    if left and details.startswith(_NEVER_SENT):
                        continue
                raise await self.explained(endpoint, error) from error

    def _require_version(self, status: Any) -> None:
        version = str(status.version)
        if tuple(int(number) for number in re.findall(r"\d+", version)[:2]) < _OLDEST:
            raise CoordinationRefusedError(
                f"MILLRACE_COORDINATION: etcd at {self._place} has version {version}; 3.4 or later is needed"
            )

    async def _options(self, endpoint: Endpoint) -> Options:
        if self._security.username is None:
            return {"timeout": self._timeout_s, "metadata": ()}
        async with self._login:
            if self._token is None:
                request = rpc_pb2.AuthenticateRequest(
                    name=self._security.username, password=self._security.password
                )
                self._token = (await endpoint.auth.Authenticate(request, timeout=self._timeout_s)).token
        return {"timeout": self._timeout_s, "metadata": (("token", self._token),)}

    def _forget(self, options: Options) -> None:
        """Log in anew, unless another call has done so since."""
        if options["metadata"] == (("token", self._token),):
            self._token = None

    def _turn_from(self, endpoint: Endpoint) -> None:
        """Begin with the next member from now on, unless another call has turned already."""
        if self._endpoints[self._current] is endpoint:
            self._current = (self._current + 1) % len(self._endpoints)

    @property
    def _place(self) -> str:
        return ",".join(endpoint.place for endpoint in self._endpoints)


def _status(endpoint: Endpoint, options: Options) -> Awaitable[Any]:
    answer: Awaitable[Any] = endpoint.maintenance.Status(rpc_pb2.StatusRequest(), **options)
    return answer
