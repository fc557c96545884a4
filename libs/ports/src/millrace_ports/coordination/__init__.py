"""Coordination: leases with fencing tokens, locks, and watched keys, chosen by URL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from millrace_ports.coordination.embedded import FileCoordination, read_boot_id, read_boottime
from millrace_ports.coordination.errors import (
    CoordinationError,
    CoordinationRefusedError,
    CoordinationUrlError,
    HistoryLostError,
    LeaseLostError,
    LockNotAcquiredError,
)
from millrace_ports.coordination.etcd.security import EtcdSecurity
from millrace_ports.coordination.lock import Lock
from millrace_ports.coordination.port import Coordination, Entry, Event, Lease, Listing

__all__ = [
    "Coordination",
    "CoordinationError",
    "CoordinationRefusedError",
    "CoordinationUrlError",
    "Entry",
    "EtcdSecurity",
    "Event",
    "HistoryLostError",
    "Lease",
    "LeaseLostError",
    "Listing",
    "Lock",
    "LockNotAcquiredError",
    "open_coordination",
]

_EXPECTED = "use local:PATH or etcd://host:port[,host:port]"


def open_coordination(
    url: str,
    *,
    etcd: EtcdSecurity | None = None,
    timeout_s: float = 5.0,
    boottime: Callable[[], float] = read_boottime,
    boot_id: Callable[[], str] = read_boot_id,
) -> Coordination:
    """Open the coordination backend that `url` (MILLRACE_COORDINATION) names: `local:PATH` or `etcd://`.

    `etcd` holds the settings MILLRACE_ETCD_*; `timeout_s` bounds each call to etcd, connecting included, which
    the first one does; open it in the event loop that uses it. `boottime` gives seconds of CLOCK_BOOTTIME,
    `boot_id` the identity of the running boot. Raises CoordinationUrlError, naming the setting, for anything
    else: there is no fallback.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "etcd":
        from millrace_ports.coordination.etcd.adapter import EtcdCoordination  # the driver is an extra

        return EtcdCoordination(url, etcd or EtcdSecurity(), timeout_s=timeout_s, boottime=boottime)
    if scheme != "local" or scheme == url:
        raise CoordinationUrlError(f"MILLRACE_COORDINATION: {scheme!r} is not known; {_EXPECTED}")
    if not rest:
        raise CoordinationUrlError(
            "MILLRACE_COORDINATION: local: needs a directory, as in local:/var/lib/millrace"
        )
    return FileCoordination(Path(rest), boottime=boottime, boot_id=boot_id)
