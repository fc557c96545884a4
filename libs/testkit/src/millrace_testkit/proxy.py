"""A TCP proxy that breaks the wire between a client and a server: cuts it, stalls it, delays it, restores it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from millrace_testkit.ports import free_port
from millrace_testkit.wire import Link, Wire

_DONE_WITHIN_S = 10.0
_BACKLOG = 100


class Proxy:
    """Listens on `port` of 127.0.0.1 and passes bytes to and from `target_port` of it, in a thread of its own.

        with Proxy(redis.port) as proxy:
            client = connect(proxy.address)
            proxy.cut()

    What is done to the wire holds for the connections that are there and for those that come, until `restore`.
    Methods may be called from any thread and return when it is done.
    """

    def __init__(self, target_port: int, port: int | None = None) -> None:
        self.target_port = target_port
        self.port = free_port() if port is None else port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{self.port}", daemon=True)
        self._listener: socket.socket | None = None
        self._wire = Wire()
        self._links: set[Link] = set()
        self._accepted = 0

    @property
    def address(self) -> str:
        """`127.0.0.1:port`, for the client."""
        return f"127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._links)

    @property
    def accepted(self) -> int:
        """How many there ever were."""
        return self._accepted

    def cut(self) -> None:
        """Reset every connection, with what is on its way, and refuse new ones: the server's process is away."""
        self._run(self._cut())

    def stall(self) -> None:
        """Keep connections and accept new ones, but pass nothing: packets get lost.

        What clients send meanwhile reaches the server after `restore`, also when they have gone by then.
        """
        self._run(self._pass(requests=False, answers=False))

    def stall_answers(self) -> None:
        """Pass what clients send, and nothing back: the server does what they never learn of.

        `cut` or `reset` then loses the answers for good.
        """
        self._run(self._pass(requests=True, answers=False))

    def delay(self, seconds: float) -> None:
        """Pass everything in order, each piece this much later, in both directions."""
        self._run(self._pass(requests=True, answers=True, delay_s=seconds))

    def reset(self) -> None:
        """Reset the connections of now, with what is on its way; new ones are treated as these were."""
        self._run(self._reset())

    def restore(self) -> None:
        """Accept connections, and pass everything at once."""
        self._run(self._pass(requests=True, answers=True))

    def __enter__(self) -> Self:
        self._thread.start()
        self.restore()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_DONE_WITHIN_S)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_DONE_WITHIN_S)

    async def _pass(self, *, requests: bool, answers: bool, delay_s: float = 0.0) -> None:
        await self._wire.change(requests=requests, answers=answers, delay_s=delay_s)
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=_BACKLOG)
            self._listener.setblocking(False)
            self._loop.add_reader(self._listener, self._accept, self._listener)

    async def _cut(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        await self._reset()

    async def _reset(self) -> None:
        await asyncio.gather(*(link.break_off() for link in list(self._links)))

    def _accept(self, listener: socket.socket) -> None:
        # Not by an asyncio server: one that is closed loses connections that it has accepted and not yet handed
        # over. Here each is a link in the moment in which it is accepted, so that a cut ends it with the rest.
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            connection, _ = listener.accept()
            self._accepted += 1
            link = Link(self._wire, connection)
            self._links.add(link)
            link.carry(self.target_port).add_done_callback(lambda _: self._links.discard(link))
