"""A TCP proxy that changes bytes of the answers on their way."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def rewriting(port: int, old: bytes, new: bytes) -> AsyncIterator[int]:
    """The port of a proxy before `port` of this host, whose clients read `new` where the server wrote `old`."""
    assert len(old) == len(new)
    writers: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, changed: bool) -> None:
        while data := await reader.read(65_536):
            writer.write(data.replace(old, new) if changed else data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writers.extend((writer, far_writer))
        with contextlib.suppress(OSError):
            await asyncio.gather(pump(reader, far_writer, False), pump(far_reader, writer, True))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
