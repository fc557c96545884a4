"""The key-value port and its adapters, chosen by URL."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from millrace_ports.kv.embedded import EmbeddedKv
from millrace_ports.kv.errors import KvError, KvRefusedError, KvUrlError, KvValueError
from millrace_ports.kv.port import Admission, Kv

__all__ = ["Admission", "Kv", "KvError", "KvRefusedError", "KvUrlError", "KvValueError", "open_kv"]

_REDIS = ("redis", "rediss", "redis+cluster", "rediss+cluster")
_EXPECTED = "expected memory:/absolute/path, redis://, rediss://, redis+cluster:// or rediss+cluster://"


def open_kv(
    url: str,
    *,
    redis_ca_file: Path | None = None,
    timeout_s: float = 5.0,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> Kv:
    """The store that `MILLRACE_KV` names: `memory:PATH` (one process) or Redis.

    `redis_ca_file` is MILLRACE_REDIS_CA_FILE, the certificates that `rediss` trusts in place of the system's.
    `timeout_s` bounds each operation on Redis, connecting included; `now_ms` is the clock of `memory:`. Redis is
    connected to by the first operation. Raises KvUrlError or KvRefusedError, naming the setting, and KvError
    (retryable) when the disk refuses.
    """
    if not url:
        raise KvUrlError(f"MILLRACE_KV is not set; {_EXPECTED}")
    scheme, _, rest = url.partition(":")
    if scheme in _REDIS:
        from millrace_ports.kv.redis.adapter import RedisKv  # the driver is an extra, and 0.2 s to import

        return RedisKv(url, ca_file=redis_ca_file, timeout_s=timeout_s)
    if scheme != "memory":
        raise KvUrlError(f"MILLRACE_KV: unknown kind {scheme!r}; {_EXPECTED}")
    path = Path(rest).expanduser()
    if not path.is_absolute():
        raise KvUrlError(f"MILLRACE_KV: {rest!r} is not an absolute path; {_EXPECTED}")
    return EmbeddedKv(path, now_ms=now_ms)
