"""A test that is not marked for it may not touch a backend (a server that has to be started first).

An audit hook of the interpreter records what sockets connect to; the check is made after the test, so that
no `except` around a failed connection hides it.
"""

from __future__ import annotations

import ipaddress
import sys
from typing import Any

from millrace_testkit.ports import SERVER_PORTS

BACKEND_PORTS = frozenset({5432, 3306, 6379, 2379, 2380, 9092, 9000})
"""PostgreSQL, MariaDB, Redis, etcd, Kafka, S3 at their usual ports; tests start them on `SERVER_PORTS`."""

FIXTURES = frozenset(
    f"{kind}_{server}"
    for kind in ("real", "secured")
    for server in ("stack", "kafka", "postgresql", "redis", "etcd")
)
"""What starts real servers: see `millrace_testkit.real.fixtures`."""

ALLOWED_MARKERS = frozenset({"real", "e2e", "faults"})

_touched: list[str] = []
_installed = False


def touched() -> list[str]:
    """Backends connected to since the last `reset`, as `host:port`."""
    return list(_touched)


def reset() -> None:
    """Forget what was touched."""
    _touched.clear()


def install() -> None:
    """Start recording; an audit hook stays for the life of the process, so it is added once."""
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "socket.connect":
        return
    address = arguments[1]
    if isinstance(address, tuple) and len(address) >= 2 and is_backend(str(address[0]), address[1]):
        _touched.append(f"{address[0]}:{address[1]}")


def is_backend(host: str, port: object) -> bool:
    """Whether an address is another host's, or a port on this one where a backend may be."""
    if port in BACKEND_PORTS or port in SERVER_PORTS:
        return True
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"
