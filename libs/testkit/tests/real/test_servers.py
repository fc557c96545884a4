"""The real servers: there when asked for, with their data after a kill, and away when they are paused."""

import pytest

from millrace_testkit.real import RealStack

pytestmark = pytest.mark.real

SERVERS = ("kafka", "postgresql", "redis", "etcd")


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_comes_back_at_its_address_after_a_kill(real_stack: RealStack, name: str) -> None:
    server = real_stack.servers[name]
    url, killed = server.url, server.pid

    server.kill()
    assert not server.running
    assert not server.answers()

    server.start()
    assert server.answers()
    assert (server.url, server.pid != killed) == (url, True)


@pytest.mark.parametrize("name", SERVERS)
def test_a_paused_server_does_not_answer_until_it_is_resumed(real_stack: RealStack, name: str) -> None:
    server = real_stack.servers[name]
    server.pause()
    assert server.running
    assert not server.answers()
    server.resume()
    server.wait_ready()
