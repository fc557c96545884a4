"""Where leases and keys lie in etcd: all below `/millrace/`, so that one right for one prefix is enough."""

from __future__ import annotations

LEASES = b"/millrace/leases/"
KEYS = b"/millrace/keys/"


def lease_key(name: str) -> bytes:
    """The etcd key of a lease."""
    return LEASES + name.encode()


def stored_key(key: str) -> bytes:
    """The etcd key of a key, or what those of a prefix begin with."""
    return KEYS + key.encode()


def told_key(stored: bytes) -> str:
    """The key of an etcd key; whatever others wrote there can be told too."""
    return stored.removeprefix(KEYS).decode(errors="surrogateescape")


def range_end(prefix: bytes) -> bytes:
    """The first etcd key behind all that begin with `prefix`, which ends in a byte of UTF-8 (never 0xFF)."""
    return prefix[:-1] + bytes([prefix[-1] + 1])
