"""Senders of webhooks: several connections at once, each answer noted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

OK = 200
NO_ANSWER = 0
"""Instead of a status: the connection was refused or ended before an answer came."""

_ANSWER_WITHIN_S = 60.0


class Connection:
    """One keep-alive HTTP/1.1 connection to a door, opened again whenever it is gone."""

    def __init__(self, port: int, path: str = "/webhook/wechat") -> None:
        self._port = port
        self._head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n".encode()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes) -> int:
        """Send one body; the answer's status, NO_ANSWER when there is none."""
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                if self._streams is None:
                    self._streams = await asyncio.open_connection("127.0.0.1", self._port)
                reader, writer = self._streams
                writer.write(b"%bcontent-length: %d\r\n\r\n%b" % (self._head, len(body), body))
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(_content_length(head))
                return int(head.split(b" ", 2)[1])
        except (OSError, EOFError, TimeoutError):
            await self.close()
            return NO_ANSWER

    async def close(self) -> None:
        """End the connection; the next post opens another one."""
        if self._streams is not None:
            writer = self._streams[1]
            self._streams = None
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                return  # it had been reset: it is closed


async def post_all(port: int, bodies: Sequence[bytes], *, connections: int = 8) -> list[int]:
    """Post every body once, dealt to the connections as they become free; statuses in the bodies' order."""
    statuses = [NO_ANSWER] * len(bodies)
    waiting = iter(range(len(bodies)))

    async def send(places: Iterable[int]) -> None:
        connection = Connection(port)
        try:
            for place in places:
                statuses[place] = await connection.post(bodies[place])
        finally:
            await connection.close()

    async with asyncio.TaskGroup() as senders:
        for _ in range(min(connections, len(bodies))):
            senders.create_task(send(waiting))
    return statuses


@dataclass
class SteadyLoad:
    """Posts `per_s` bodies a second, each when its time has come and none twice, until `stop` or their end.

    A door that is slow is sent the rest later, never less. `acknowledged` are the bodies that were answered by 200,
    `refused` the other answers, NO_ANSWER among them.
    """

    port: int
    bodies: Iterator[bytes]
    per_s: float
    connections: int = 16
    acknowledged: list[bytes] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    _stopped: bool = False
    _begun: int = 0

    def stop(self) -> None:
        """Begin no other post."""
        self._stopped = True

    async def run(self) -> None:
        """Return when the last answer is there."""
        start = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as senders:
            for _ in range(self.connections):
                senders.create_task(self._send(start))

    async def _send(self, start: float) -> None:
        loop, connection = asyncio.get_running_loop(), Connection(self.port)
        try:
            while not self._stopped and (body := next(self.bodies, None)) is not None:
                due = start + self._begun / self.per_s
                self._begun += 1
                if (early := due - loop.time()) > 0:
                    await asyncio.sleep(early)
                status = await connection.post(body)
                if status == OK:
                    self.acknowledged.append(body)
                else:
                    self.refused.append(status)
        finally:
            await connection.close()


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0
