"""What a Redis URL says."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from millrace_ports.kv.errors import KvUrlError

_DEFAULT_PORT = 6379
_EXPECTED = (
    "expected redis://[user[:password]@]host[:port][/database] or redis+cluster://host:port[,host:port]"
)


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """Where a Redis is and who asks. `nodes` has one entry unless it is a cluster."""

    nodes: tuple[tuple[str, int], ...]
    cluster: bool
    tls: bool
    database: int
    username: str | None
    password: str | None = field(repr=False)

    @property
    def place(self) -> str:
        """The addresses, for messages: never the password."""
        return ",".join(f"{host}:{port}" for host, port in self.nodes)


def parse_redis_url(url: str) -> RedisUrl:
    """Read `redis://`, `rediss://` (TLS) or either with `+cluster`. Raises KvUrlError, which repeats no secret."""
    try:
        parts = urlsplit(url)
        cluster = parts.scheme.endswith("+cluster")
        credentials, _, hosts = parts.netloc.rpartition("@")
        username, _, password = credentials.partition(":")
        nodes = tuple(_node(text) for text in hosts.split(","))
        database = _database(parts)
    except ValueError:
        raise KvUrlError(f"MILLRACE_KV is malformed; {_EXPECTED}") from None
    if parts.query or parts.fragment:
        raise KvUrlError(
            f"MILLRACE_KV: nothing may follow the database, also no '?' or '#' "
            f"(in a password write %3F or %23); {_EXPECTED}"
        )
    if len(nodes) > 1 and not cluster:
        raise KvUrlError("MILLRACE_KV: several hosts need redis+cluster:// or rediss+cluster://")
    if cluster and database:
        raise KvUrlError("MILLRACE_KV: a Redis cluster has no database but 0")
    return RedisUrl(
        nodes=nodes,
        cluster=cluster,
        tls=parts.scheme.startswith("rediss"),
        database=database,
        username=unquote(username) or None,
        password=unquote(password) or None,
    )


def _node(text: str) -> tuple[str, int]:
    """`host:port`, `host` or `[v6]:port`. Raises ValueError."""
    parts = urlsplit(f"//{text}")
    if not parts.hostname or "@" in text:
        raise ValueError("no host")
    return parts.hostname, parts.port or _DEFAULT_PORT


def _database(parts: SplitResult) -> int:
    path = parts.path.removeprefix("/")
    if not path:
        return 0
    if not (path.isascii() and path.isdecimal()):
        raise ValueError("no database number")
    return int(path)
