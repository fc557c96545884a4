"""A lock made of a lease: kept up while a block of code runs, and the block ends with it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType

from millrace_ports.coordination.embedded import read_boottime
from millrace_ports.coordination.errors import CoordinationError, LeaseLostError, LockNotAcquiredError
from millrace_ports.coordination.port import Coordination, Lease

_ASK_EVERY_S = 0.1


class Lock:
    """`async with Lock(coordination, "name", ...) as lock:` runs its block while holding the lease of the name.

    Entering raises LockNotAcquiredError when another holds it for `wait_s` seconds (0: one attempt), and the
    block does not run. While it runs, the lease is renewed each third of `ttl_s`. When the lease is lost, or
    cannot be renewed before its deadline, the block is cancelled, and leaving it raises LeaseLostError; code that
    does not await is not stopped, so hand `token` to whatever must refuse a holder of the past. At the end the
    lease is released. A lock is entered once.
    """

    def __init__(
        self,
        coordination: Coordination,
        name: str,
        *,
        ttl_s: float,
        holder: str,
        wait_s: float = 0.0,
        boottime: Callable[[], float] = read_boottime,
    ) -> None:
        self._coordination = coordination
        self._name = name
        self._ttl_s = ttl_s
        self._holder = holder
        self._wait_s = wait_s
        self._boottime = boottime
        self._lease: Lease | None = None
        self._lost: LeaseLostError | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._cancels_before = 0

    @property
    def lease(self) -> Lease:
        """The lease as last renewed. Raises RuntimeError outside the block."""
        if self._lease is None:
            raise RuntimeError(f"lock {self._name!r} is not held")
        return self._lease

    @property
    def token(self) -> int:
        """The fencing token."""
        return self.lease.token

    async def __aenter__(self) -> Lock:
        end = asyncio.get_running_loop().time() + self._wait_s
        while (lease := await self._coordination.acquire(self._name, self._ttl_s, self._holder)) is None:
            if asyncio.get_running_loop().time() >= end:
                raise LockNotAcquiredError(self._name, self._wait_s)
            await asyncio.sleep(_ASK_EVERY_S)
        self._lease = lease
        task = asyncio.current_task()
        assert task is not None
        self._cancels_before = task.cancelling()
        self._keeper = asyncio.create_task(self._keep(task))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._keeper is not None
        task = asyncio.current_task()
        assert task is not None
        self._ended.set()
        cancelled_by_us = self._lost is not None and task.uncancel() <= self._cancels_before
        await self._keeper  # a renewal under way ends first, lest it bring back what is released
        if self._lost is None:
            with contextlib.suppress(CoordinationError):  # it runs out by itself
                await self._coordination.release(self.lease)
        self._lease = None
        if self._lost is not None and (
            error is None or (cancelled_by_us and isinstance(error, asyncio.CancelledError))
        ):
            raise self._lost from None

    async def _keep(self, holder: asyncio.Task[object]) -> None:
        """Renew until the block has ended; cancel the holder when the lease is lost."""
        pause_s = self._ttl_s / 3
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), min(pause_s, self._left_s()))
            if self._ended.is_set():
                return
            try:
                async with asyncio.timeout(self._left_s()):
                    self._lease = await self._coordination.renew(self.lease)
                pause_s = self._ttl_s / 3
            except (CoordinationError, TimeoutError) as error:
                may_heal = isinstance(error, TimeoutError) or error.retryable
                if not may_heal or self._left_s() <= 0:
                    self._lost = LeaseLostError(self.lease.name, self.lease.token)
                    if not self._ended.is_set():
                        holder.cancel()
                    return
                pause_s = self._ttl_s / 30

    def _left_s(self) -> float:
        return max(0.0, self.lease.deadline - self._boottime())
