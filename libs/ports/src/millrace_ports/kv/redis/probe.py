"""Whether the URL is wrong about TLS, asked after a first failure: a Redis without TLS waits for the rest of what
it takes for a command, one with TLS closes what is no handshake, and both look like servers that are away."""

from __future__ import annotations

from millrace_ports.kv.redis.url import RedisUrl
from millrace_ports.tls_probe import short_connection, speaks_tls


async def misconfiguration(url: RedisUrl) -> str | None:
    """What is wrong with MILLRACE_KV for its first node, None when nothing is known to be. Ends within 2 s."""
    host, port = url.nodes[0]
    if not url.tls and await speaks_tls(host, port):
        return f"MILLRACE_KV: Redis at {host}:{port} asks for TLS; write rediss:// or rediss+cluster://"
    if url.tls and await _answers_plainly(host, port):
        return f"MILLRACE_KV: Redis at {host}:{port} does not speak TLS; write redis:// or redis+cluster://"
    return None


async def _answers_plainly(host: str, port: int) -> bool:
    """Whether a command without TLS gets a reply, be it an error."""
    try:
        async with short_connection(host, port, None) as (reader, writer):
            writer.write(b"PING\r\n")
            await writer.drain()
            return (await reader.readline()).startswith((b"+", b"-"))
    except (OSError, TimeoutError):
        return False
