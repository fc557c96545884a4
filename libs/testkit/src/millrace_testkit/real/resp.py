"""A stand-in for servers that cannot be installed: answers every Redis command with one given reply."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def resp_server(reply: bytes) -> AsyncIterator[str]:
    """`host:port` of a listener that sends `reply` (RESP, as it is) after each command it receives."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await _read_command(reader):
                writer.write(reply)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"


async def _read_command(reader: asyncio.StreamReader) -> bool:
    """One array of bulk strings; False at the end."""
    head = await reader.readline()
    if not head:
        return False
    for _ in range(int(head[1:])):
        size = int((await reader.readline())[1:])
        await reader.readexactly(size + 2)
    return True
