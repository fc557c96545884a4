"""One connection through a proxy, and the state of the wire that all of them share."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from enum import Enum

_PIECE = 65_536
_PIECES_ON_THE_WAY = 64
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Direction(Enum):
    """Of bytes."""

    REQUESTS = "from client to server"
    ANSWERS = "from server to client"


class Wire:
    """What passes, and how much later. Belongs to one event loop."""

    def __init__(self) -> None:
        self._held: set[Direction] = set()
        self._delay_s = 0.0
        self._changed = asyncio.Condition()

    async def change(self, *, requests: bool, answers: bool, delay_s: float) -> None:
        """Let pass, or hold, what goes in each direction."""
        passing = {Direction.REQUESTS: requests, Direction.ANSWERS: answers}
        async with self._changed:
            self._held = {direction for direction, passes in passing.items() if not passes}
            self._delay_s = delay_s
            self._changed.notify_all()

    async def passes(self, direction: Direction, since: float) -> None:
        """Return when a piece that arrived at the loop's time `since` may go on."""
        while (wait_s := self._wait_s(direction, since)) is None or wait_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s), self._changed:
                    await self._changed.wait()

    def _wait_s(self, direction: Direction, since: float) -> float | None:
        """Seconds that are left as things are; None for no end."""
        if direction in self._held:
            return None
        return since + self._delay_s - asyncio.get_running_loop().time() if self._delay_s else 0.0


class Link:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, wire: Wire, connection: socket.socket) -> None:
        self._wire = wire
        self._connection = connection
        self._writers: list[asyncio.StreamWriter] = []
        self._task: asyncio.Task[None] | None = None

    def carry(self, port: int) -> asyncio.Task[None]:
        """Connect to the server and pass bytes until both sides have closed, or one has broken off."""
        self._task = asyncio.create_task(self._carry(port))
        return self._task

    async def break_off(self) -> None:
        """Reset both sides; what is on its way is lost."""
        self._reset()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if not self._writers:
            self._connection.close()

    async def _carry(self, port: int) -> None:
        try:
            client, to_client = await asyncio.open_connection(sock=self._connection)
            self._writers.append(to_client)
            await self._wire.passes(Direction.REQUESTS, asyncio.get_running_loop().time())
            server, to_server = await asyncio.open_connection("127.0.0.1", port)
            self._writers.append(to_server)
            async with asyncio.TaskGroup() as tasks:
                self._pump(tasks, client, to_server, Direction.REQUESTS)
                self._pump(tasks, server, to_client, Direction.ANSWERS)
            for writer in self._writers:
                writer.close()
            for writer in self._writers:  # a side that reads no more can still be broken off
                await writer.wait_closed()
        except* OSError:  # a side is away, or was reset: so is the other, then
            self._reset()

    def _reset(self) -> None:
        for writer in self._writers:
            connection = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()

    def _pump(
        self,
        tasks: asyncio.TaskGroup,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        direction: Direction,
    ) -> None:
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_PIECES_ON_THE_WAY)
        tasks.create_task(_take(reader, on_the_way))
        tasks.create_task(self._give(on_the_way, writer, direction))

    async def _give(
        self,
        on_the_way: asyncio.Queue[tuple[float, bytes]],
        writer: asyncio.StreamWriter,
        direction: Direction,
    ) -> None:
        while True:
            since, piece = await on_the_way.get()
            await self._wire.passes(direction, since)
            if not piece:
                writer.write_eof()
                return
            writer.write(piece)
            await writer.drain()


async def _take(reader: asyncio.StreamReader, on_the_way: asyncio.Queue[tuple[float, bytes]]) -> None:
    """Pieces as they come; the last is empty."""
    piece = b"-"
    while piece:
        piece = await reader.read(_PIECE)
        await on_the_way.put((asyncio.get_running_loop().time(), piece))
