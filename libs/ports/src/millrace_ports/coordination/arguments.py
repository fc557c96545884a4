"""Checks of arguments that all adapters share, so that they refuse the same ones with the same words."""

from __future__ import annotations

from millrace_ports.coordination.port import MAX_VALUE_BYTES


def check_lease(name: str, ttl_s: float) -> None:
    """Raises ValueError for an empty name or a time to live that is not positive."""
    if not name:
        raise ValueError("a lease needs a name")
    if not ttl_s > 0:
        raise ValueError(f"ttl_s must be positive, not {ttl_s}")


def check_key(key: str) -> None:
    """Raises ValueError for an empty key."""
    if not key:
        raise ValueError("a key may not be empty")


def check_change(key: str, value: bytes, if_revision: int | None = None) -> None:
    """Raises ValueError for an empty key, a value above 1 MiB or a revision that is not positive."""
    check_key(key)
    if len(value) > MAX_VALUE_BYTES:
        raise ValueError(f"a value may have {MAX_VALUE_BYTES} bytes, not {len(value)}")
    if if_revision is not None:
        check_revision("if_revision", if_revision)


def check_revision(name: str, revision: int) -> None:
    """Raises ValueError for a revision that is not positive."""
    if revision < 1:
        raise ValueError(f"{name} must be positive, not {revision}")
