"""Processes started before their servers: alive, not ready and saying why, then ready by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from millrace_testkit.builders import message
from millrace_testkit.load import OK, post_all
from millrace_testkit.proxy import Proxy
from millrace_testkit.real import RealStack
from millrace_testkit.real.postgresql import PostgresqlServer
from millrace_testkit.real_mode import RealInstallation
from millrace_testkit.stack import Process, Stack, wait_until

from .conftest import Exact

pytestmark = [pytest.mark.real, pytest.mark.faults]

WITHIN_S = 60.0
AT_ONCE_S = 10.0
PASSWORD = "s3cret-in-the-url"


@pytest.fixture
def installation(tmp_path: Path, real_stack: RealStack) -> Iterator[RealInstallation]:
    """Nothing runs yet."""
    with Stack.real(tmp_path / "installation", real_stack) as stack:
        yield stack


@pytest.fixture
def postgresql(real_postgresql: PostgresqlServer) -> Iterator[Proxy]:
    """The wire to PostgreSQL."""
    with Proxy(real_postgresql.port) as wire:
        yield wire


def behind(wire: Proxy, url: str) -> str:
    """A database's URL by the wire, with a password that the server does not look at."""
    return url.replace(f"@127.0.0.1:{wire.target_port}/", f":{PASSWORD}@{wire.address}/")


def get(process: Process, path: str) -> httpx.Response | None:
    """The answer of its management port, None when there is none."""
    try:
        return httpx.get(
            f"http://127.0.0.1:{process.endpoint.management_port}{path}", trust_env=False, timeout=5
        )
    except httpx.TransportError:
        return None


def says(process: Process, text: str) -> bool:
    """Whether it is alive and not ready, for a reason with `text` in it."""
    live, ready = get(process, "/live"), get(process, "/ready")
    if live is None or ready is None:
        assert process.alive, process.log()
        return False
    assert live.status_code == 200
    return ready.status_code == 503 and text in ready.text


@pytest.mark.slow
def test_every_process_may_be_started_before_its_server(
    installation: RealInstallation, real_stack: RealStack, postgresql: Proxy, assert_exact: Exact
) -> None:
    kafka = real_stack.kafka_server
    with (
        Proxy(kafka.behind_proxy, kafka.proxied_port) as to_kafka,
        Proxy(real_stack.etcd_server.port) as to_etcd,
    ):
        wires = (postgresql, to_kafka, to_etcd)
        for wire in wires:
            wire.cut()
        databases = {name: behind(postgresql, installation.database(name)) for name in ("auth", "ids")}
        bus = f"kafka://{kafka.proxied}"
        door = installation.door()
        waiting = {
            installation.auth(AUTH_DATABASE_URL=databases["auth"]): "MILLRACE_AUTH_DATABASE_URL: ",
            installation.ids(ID_DATABASE_URL=databases["ids"]): "MILLRACE_ID_DATABASE_URL: ",
            installation.relay(BUS=bus): kafka.proxied,
            installation.lake_writer(BUS=bus): kafka.proxied,
            installation.maintenance(COORDINATION=f"etcd://{to_etcd.address}"): to_etcd.address,
        }
        query = installation.query()
        bodies = [message("1")]
        assert asyncio.run(post_all(door.wait_ready().endpoint.http_port, bodies)) == [OK]
        for process, reason in waiting.items():
            wait_until(partial(says, process, reason), WITHIN_S, f"{process.name} says: {reason}")
        query.wait_ready()

        for wire in wires:
            wire.restore()
        for process in waiting:
            process.wait_ready()
            assert PASSWORD not in process.log()
        installation.wait_landed()
        assert_exact(installation.data, bodies)


def test_a_stop_ends_the_wait_at_once(installation: RealInstallation, postgresql: Proxy) -> None:
    """Also in the middle of an attempt, which would go on for a minute."""
    postgresql.stall()
    url = behind(postgresql, installation.database("ids")) + "?connect_timeout=60"
    process = installation.ids(ID_DATABASE_URL=url)
    wait_until(lambda: postgresql.connections > 0, WITHIN_S, "it waits for an answer")

    process.stop(within_s=AT_ONCE_S)
    assert "Traceback" not in process.log()
    assert PASSWORD not in process.log()
