"""The proxy breaks the wire as it says, and mends it."""

import contextlib
import gc
import socket
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from millrace_testkit.proxy import Proxy
from millrace_testkit.stack import wait_until

SHORT_S = 0.2


class Echo:
    """A server that sends everything back, and counts what it has got."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.received = 0
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._echo, args=(connection,)))
                self._threads[-1].start()

    def _echo(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while piece := connection.recv(65_536):
                self.received += len(piece)
                connection.sendall(piece)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    # A port that the kernel chose, beside those of servers: this test needs no backend.
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    with Proxy(echo.port, port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with connect(proxy) as client:
        yield client


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def receive(client: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        received += (piece := client.recv(size))
        assert piece, f"closed after {len(received)} of {size} bytes"
    return received


def assert_silent(client: socket.socket) -> None:
    client.settimeout(SHORT_S)
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.settimeout(10)


def test_a_whole_wire_passes_everything_in_order(client: socket.socket) -> None:
    sent = bytes(range(256)) * 20_000
    sender = threading.Thread(target=client.sendall, args=(sent,))
    sender.start()
    assert receive(client, len(sent)) == sent
    sender.join()


def test_a_side_that_has_finished_still_hears_the_rest(client: socket.socket) -> None:
    client.sendall(b"last words")
    client.shutdown(socket.SHUT_WR)
    assert receive(client, 10) == b"last words"
    assert client.recv(1) == b""


def test_a_cut_resets_connections_and_refuses_new_ones_until_it_is_restored(
    proxy: Proxy, client: socket.socket
) -> None:
    client.sendall(b"before")
    assert receive(client, 6) == b"before"

    proxy.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    assert proxy.connections == 0

    proxy.restore()
    with connect(proxy) as again:
        again.sendall(b"after")
        assert receive(again, 5) == b"after"


def test_a_stalled_wire_accepts_and_passes_nothing_until_it_is_restored(
    proxy: Proxy, client: socket.socket, echo: Echo
) -> None:
    client.sendall(b"before")
    assert receive(client, 6) == b"before"

    proxy.stall()
    client.sendall(b"held")
    with connect(proxy) as new:
        new.sendall(b"new")
        assert_silent(client)
        assert_silent(new)
        assert echo.received == 6

        proxy.restore()
        assert receive(client, 4) == b"held"
        assert receive(new, 3) == b"new"


def test_what_a_client_sent_before_it_gave_up_still_arrives(proxy: Proxy, echo: Echo) -> None:
    proxy.stall()
    with connect(proxy) as client:
        client.sendall(b"given up")
        assert_silent(client)
    proxy.restore()
    wait_until(lambda: echo.received == 8, 10, "what was sent arrived")


def test_stalled_answers_are_lost_by_a_reset_though_the_server_has_worked(
    proxy: Proxy, client: socket.socket, echo: Echo
) -> None:
    proxy.stall_answers()
    client.sendall(b"do it")
    wait_until(lambda: echo.received == 5, 10, "the request arrived")
    assert_silent(client)

    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with connect(proxy) as again:
        again.sendall(b"well?")
        assert_silent(again)
        proxy.restore()
        assert receive(again, 5) == b"well?"


def test_a_delayed_wire_passes_each_piece_later_and_in_order(proxy: Proxy, client: socket.socket) -> None:
    proxy.delay(SHORT_S)
    begun = time.monotonic()
    for number in range(5):
        client.sendall(bytes([number]))
    assert receive(client, 5) == bytes(range(5))
    took = time.monotonic() - begun
    assert 2 * SHORT_S <= took < 10

    proxy.delay(3_600)
    client.sendall(b"!")
    assert_silent(client)
    proxy.restore()
    assert receive(client, 1) == b"!"


def test_a_server_that_is_away_resets_the_client(proxy: Proxy, echo: Echo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        proxy.target_port = int(free.getsockname()[1])
    with pytest.raises(ConnectionResetError), connect(proxy) as client:
        client.recv(1)
    wait_until(lambda: proxy.connections == 0, 10, "the connection is given up")
    assert proxy.accepted == 1


@pytest.mark.filterwarnings("error")
def test_what_is_just_accepted_when_it_ends_is_closed_too(echo: Echo) -> None:
    lost: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", lambda unraisable: lost.append(unraisable.exc_value))
        for _ in range(5):
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = int(free.getsockname()[1])
            with Proxy(echo.port, port), contextlib.ExitStack() as clients:
                for _ in range(40):
                    clients.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            gc.collect()
    assert lost == []
