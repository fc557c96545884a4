"""Ports of tests: what two processes are given never meets, also while one of them is down."""

from __future__ import annotations

from collections import Counter
from itertools import chain

from millrace_runtime.service import PORTS, PROCESS_PORTS
from millrace_testkit import ports


def test_no_port_of_one_offset_is_a_port_of_another() -> None:
    served = chain.from_iterable(
        (one.http_port, one.grpc_port, one.management_port) for one in PORTS.values()
    )
    table = {*served, *PROCESS_PORTS.values()}
    given = Counter(port + offset for offset in ports._OFFSETS for port in table)
    assert max(given.values()) == 1
    assert max(given) < 65_536
