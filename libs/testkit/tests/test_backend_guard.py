"""The guard against backends in unit tests."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from millrace_testkit import backend_guard


@pytest.fixture
def guard() -> Iterator[None]:
    """Leaves nothing for this test's own teardown check."""
    backend_guard.install()
    backend_guard.reset()
    yield
    backend_guard.reset()


def test_a_hidden_attempt_at_a_backend_is_recorded(guard: None) -> None:
    with socket.socket() as client, contextlib.suppress(OSError):
        client.settimeout(0.2)
        client.connect(("127.0.0.1", 6379))
    assert backend_guard.touched() == ["127.0.0.1:6379"]


def test_a_server_of_the_test_itself_is_no_backend(guard: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        assert backend_guard.touched() == []


@pytest.mark.parametrize(
    ("host", "port", "backend"),
    [("127.0.0.1", 40000, False), ("::1", 40000, False), ("localhost", 40000, False), ("10.0.0.1", 80, True),
     ("db.example", 40000, True), ("127.0.0.1", 5432, True), ("127.0.0.1", 24000, True)],
)  # fmt: skip
def test_what_counts_as_a_backend(host: str, port: int, backend: bool) -> None:
    assert backend_guard.is_backend(host, port) is backend
