"""The redis-py client that a URL asks for, with or without TLS."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from redis.asyncio import ConnectionPool, Redis, SSLConnection
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from millrace_ports.kv.errors import KvUrlError
from millrace_ports.kv.redis.url import RedisUrl


class _TlsConnection(SSLConnection):
    """Takes a ready context: making one for each connection blocks the event loop for tens of milliseconds."""

    def __init__(self, *, tls: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = tls


def make_client(url: RedisUrl, *, ca_file: Path | None, timeout_s: float) -> Redis | RedisCluster:
    """A client that connects when it is used first. Raises KvUrlError naming MILLRACE_REDIS_CA_FILE.

    It repeats nothing by itself: a repeated increment would count twice.
    """
    tls = _context(url, ca_file)
    options: dict[str, Any] = {
        "username": url.username,
        "password": url.password,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "protocol": 2,
        "driver_info": None,
    }
    if url.cluster:
        return _cluster(url, options, tls)
    host, port = url.nodes[0]
    options |= {"host": host, "port": port, "db": url.database, "retry": Retry(NoBackoff(), 0)}
    if tls is not None:
        options |= {"connection_class": _TlsConnection, "tls": tls}
    return Redis.from_pool(ConnectionPool(**options, maint_notifications_config=_NO_NOTIFICATIONS))


_NO_NOTIFICATIONS = MaintNotificationsConfig(enabled=False)


def _cluster(url: RedisUrl, options: dict[str, Any], tls: ssl.SSLContext | None) -> RedisCluster:
    cluster = RedisCluster(
        startup_nodes=[ClusterNode(host, port) for host, port in url.nodes],
        retry=Retry(NoBackoff(), 0),
        maint_notifications_config=_NO_NOTIFICATIONS,
        **options,
    )
    if tls is not None:
        # The constructor takes no class of connections: they are set for the nodes there are and those to come.
        cluster.connection_kwargs |= {"connection_class": _TlsConnection, "tls": tls}
        for node in cluster.nodes_manager.startup_nodes.values():
            node.connection_class = _TlsConnection
            node.connection_kwargs["tls"] = tls
    return cluster


def _context(url: RedisUrl, ca_file: Path | None) -> ssl.SSLContext | None:
    """What the server's certificate is verified by: the CA file, or the system's certificates."""
    if not url.tls:
        if ca_file is not None:
            raise KvUrlError(
                "MILLRACE_REDIS_CA_FILE is set, but MILLRACE_KV asks for no TLS; write rediss://"
            )
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        reason = (
            error.strerror if error.errno and not isinstance(error, ssl.SSLError) else "no PEM certificate"
        )
        raise KvUrlError(f"MILLRACE_REDIS_CA_FILE: cannot read {ca_file}: {reason}") from error
