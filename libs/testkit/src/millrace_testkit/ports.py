"""Free loopback ports: for processes that shift the fixed table of ports by one offset, and for servers."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from collections import deque
from itertools import chain
from pathlib import Path

from millrace_runtime.service import PORTS, PROCESS_PORTS

# Shifted by these, every port of the table lies beside the range from which the kernel takes ports for
# outgoing connections (32768 to 60999 by default): none is taken between our look and the process's bind.
# 17 apart: no port of one offset is a port of another.
_OFFSETS = range(10_960, 14_000, 17)
_KEPT = 32

SERVER_PORTS = range(24_000, 32_700)
"""Ports of real servers, beside both of these ranges: a client that calls while its server is away is refused,
and is never given the server's own port to call from, on which it would reach itself."""

_claims: deque[int] = deque()
"""Descriptors of the lock files of the latest offsets, held so that no other test run is given the same."""

_kept: list[int] = []
"""The same of server ports, which stay a server's own until this process ends."""


def free_offset() -> int:
    """An offset for which all ports of the table are free now, and that nobody was given lately."""
    for offset in random.sample(_OFFSETS, len(_OFFSETS)):
        if (claim := _claim(offset)) is None:
            continue
        _claims.append(claim)
        if len(_claims) > _KEPT:
            os.close(_claims.popleft())
        if _free(offset):
            return offset
    raise RuntimeError("no free ports: are processes of earlier runs still there?")


def free_port() -> int:
    """A port that is free now and that no test run is given again while this process lives."""
    for port in random.sample(SERVER_PORTS, len(SERVER_PORTS)):
        if (claim := _claim(port)) is None:
            continue
        _kept.append(claim)
        if _bindable(port):
            return port
    raise RuntimeError("no free ports: are processes of earlier runs still there?")


def _claim(number: int) -> int | None:
    """Lock the number of an offset or port against other processes: the descriptor, None if another holds it."""
    directory = Path(tempfile.gettempdir()) / "millrace-test-ports"
    directory.mkdir(exist_ok=True)
    descriptor = os.open(directory / str(number), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _free(offset: int) -> bool:
    served = [(place.http_port, place.grpc_port, place.management_port) for place in PORTS.values()]
    return all(_bindable(port + offset) for port in (*chain(*served), *PROCESS_PORTS.values()))


def _bindable(port: int) -> bool:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
