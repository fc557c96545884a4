"""The real server on a real port."""

import asyncio
import http.client
import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from millrace_runtime.http import HttpServer, Interface
from millrace_runtime.listen import ListenError, PortTakenError, probe


class SlowApp:
    """ASGI and RSGI: answers when it is let."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.let = asyncio.Event()
        self.cancelled = False

    async def _work(self, path: str) -> bytes:
        if path == "/slow":
            self.entered.set()
            try:
                await self.let.wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
        return b"done"

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        body = await self._work(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async def rsgi(self, scope: Any, protocol: Any) -> None:
        protocol.response_bytes(200, [], await self._work(scope.path))

    def of(self, interface: Interface) -> Any:
        return self.asgi if interface == "asgi" else self.rsgi


@pytest.mark.parametrize("interface", ["asgi", "rsgi"])
async def test_a_stop_finishes_the_request_in_progress_and_takes_no_new_one(
    interface: Interface, free_port: Callable[[], int]
) -> None:
    app, port = SlowApp(), free_port()
    server = HttpServer(app.of(interface), interface=interface, host="127.0.0.1", port=port)
    await server.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        slow = asyncio.create_task(client.get("/slow"))
        await app.entered.wait()
        stopping = asyncio.create_task(server.stop(10))
        while not refuses(port):  # noqa: ASYNC110 the kernel gives no event for it
            await asyncio.sleep(0.01)
        assert not slow.done()
        assert not stopping.done()
        app.let.set()
        assert (await slow).text == "done"
        await stopping
    probe("127.0.0.1", port)


@pytest.mark.parametrize("interface", ["asgi", "rsgi"])
async def test_a_request_that_outlives_the_grace_is_cancelled(
    interface: Interface, free_port: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    app, port = SlowApp(), free_port()
    server = HttpServer(app.of(interface), interface=interface, host="127.0.0.1", port=port)
    await server.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        slow = asyncio.create_task(client.get("/slow"))
        await app.entered.wait()
        await asyncio.wait_for(server.stop(0.05), 5)
        response = await asyncio.gather(slow, return_exceptions=True)
    assert app.cancelled
    assert isinstance(response[0], httpx.HTTPError) or response[0].status_code == 500
    assert [record.message for record in caplog.records] == []
    assert refuses(port)


async def test_idle_connections_do_not_hold_up_the_stop(free_port: Callable[[], int]) -> None:
    port = free_port()
    server = HttpServer(SlowApp().asgi, interface="asgi", host="127.0.0.1", port=port)
    await server.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert (await client.get("/")).text == "done"  # stays open: keep-alive
        _, silent = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.wait_for(server.stop(30), 5)
        silent.close()


async def test_a_half_sent_header_does_not_hold_up_the_stop_past_its_grace(
    free_port: Callable[[], int],
) -> None:
    port = free_port()
    server = HttpServer(SlowApp().asgi, interface="asgi", host="127.0.0.1", port=port)
    await server.start()
    _, half = await asyncio.open_connection("127.0.0.1", port)
    half.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Le")
    await half.drain()
    await asyncio.wait_for(server.stop(0.05), 5)
    half.close()


async def test_several_servers_live_in_one_loop_and_stop_one_by_one(free_port: Callable[[], int]) -> None:
    ports = [free_port() for _ in range(3)]
    servers = [HttpServer(SlowApp().asgi, interface="asgi", host="127.0.0.1", port=port) for port in ports]
    for server in servers:
        await server.start()
    await servers[0].stop(2)
    assert [refuses(port) for port in ports] == [True, False, False]
    await asyncio.gather(*(server.stop(2) for server in servers))
    assert all(refuses(port) for port in ports)


async def test_a_taken_port_is_named(free_port: Callable[[], int]) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        server = HttpServer(SlowApp().asgi, interface="asgi", host="127.0.0.1", port=port)
        with pytest.raises(PortTakenError, match=f"port {port} on 127.0.0.1 is taken") as caught:
            await server.start()
    assert caught.value.port == port
    await server.stop(1)


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 8000), ("127.0.0.1", 70_000)])
async def test_an_impossible_address_is_named(host: str, port: int) -> None:
    with pytest.raises(ListenError, match=f"cannot listen on {host} port {port}"):
        await HttpServer(SlowApp().asgi, interface="asgi", host=host, port=port).start()


async def test_a_stopped_server_can_be_followed_by_another_on_the_same_port(
    free_port: Callable[[], int],
) -> None:
    port = free_port()
    for _ in range(2):
        server = HttpServer(SlowApp().asgi, interface="asgi", host="127.0.0.1", port=port)
        await server.start()
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{port}/")).text == "done"
        await server.stop(2)


async def test_the_server_prints_nothing_and_leaves_logging_alone(
    free_port: Callable[[], int], capfd: pytest.CaptureFixture[str]
) -> None:
    import logging

    handlers = logging.getLogger().handlers[:]
    server = HttpServer(SlowApp().asgi, interface="asgi", host="127.0.0.1", port=free_port())
    await server.start()
    await server.stop(2)
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger().handlers == handlers


def refuses(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("interface", ["asgi", "rsgi"])
async def test_while_draining_every_answer_ends_its_connection(
    interface: Interface, free_port: Callable[[], int]
) -> None:
    app, port = SlowApp(), free_port()
    server = HttpServer(app.of(interface), interface=interface, host="127.0.0.1", port=port)
    await server.start()
    kept = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    first, still_open = await asyncio.to_thread(asked, kept)
    assert (first, still_open) == (b"done", True)
    server.drain()
    last, still_open = await asyncio.to_thread(asked, kept)
    assert (last, still_open) == (b"done", False)
    new, still_open = await asyncio.to_thread(asked, http.client.HTTPConnection("127.0.0.1", port, timeout=5))
    assert (new, still_open) == (b"done", False)
    await server.stop(1)


def asked(connection: http.client.HTTPConnection) -> tuple[bytes, bool]:
    """The answer, and whether the connection outlives it."""
    connection.request("GET", "/")
    answer = connection.getresponse()
    return answer.read(), connection.sock is not None
