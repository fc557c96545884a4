"""Whether a port speaks TLS, asked after a failure: to a client without TLS such a port just closes connections, as
one does whose server is away."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_ANSWER_WITHIN_S = 2.0


async def speaks_tls(host: str, port: int) -> bool:
    """Whether a handshake succeeds. Nothing is verified and nothing sent. Ends within two seconds."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with short_connection(host, port, context):
            return True
    except (OSError, TimeoutError):
        return False


@asynccontextmanager
async def short_connection(
    host: str, port: int, context: ssl.SSLContext | None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection, by TLS with a context, for two seconds at most.

    Raises OSError, of which ssl.SSLError is a kind, and TimeoutError.
    """
    async with asyncio.timeout(_ANSWER_WITHIN_S):
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
