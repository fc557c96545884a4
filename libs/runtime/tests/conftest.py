from collections.abc import Callable

import pytest

from millrace_runtime.service import PORTS, Endpoint
from millrace_testkit.clock import ManualClock
from millrace_testkit.ports import free_offset


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Ports that were free a moment ago; never the same twice within a test."""
    return lambda: PORTS["id-service"].http_port + free_offset()


@pytest.fixture
def endpoint(free_port: Callable[[], int]) -> Endpoint:
    return Endpoint("127.0.0.1", free_port(), free_port(), free_port())
