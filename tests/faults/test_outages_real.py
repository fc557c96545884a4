"""A server away while webhooks come in: the door goes on, who needs the server says so, and all heals by itself."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from millrace_runtime.auth.remote import KEY_TTL_S
from millrace_testkit.builders import message
from millrace_testkit.eventually import eventually_true
from millrace_testkit.load import OK, SteadyLoad, post_all
from millrace_testkit.proxy import Proxy
from millrace_testkit.real import RealStack
from millrace_testkit.real_mode import RealInstallation
from millrace_testkit.stack import Process, Stack, wait_until
from millrace_testkit.victims import EAGER

from .conftest import Exact

pytestmark = [pytest.mark.real, pytest.mark.faults, pytest.mark.slow]

T = TypeVar("T")

AWAY_S = 30.0
PER_S = 1_000
LEVEL_WITHIN_S = 30.0
NOTICED_WITHIN_S = 25.0
HEALS_WITHIN_S = 60.0
FIRST_ID = 7_304_418_832_500_000_000


@pytest.fixture
def installation(tmp_path: Path, real_stack: RealStack) -> Iterator[RealInstallation]:
    """Nothing runs yet."""
    with Stack.real(tmp_path / "installation", real_stack) as stack:
        yield stack


@pytest.fixture
def wire(real_stack: RealStack) -> Iterator[Proxy]:
    """The wire to Kafka of those who come by `kafka_server.proxied`."""
    kafka = real_stack.kafka_server
    with Proxy(kafka.behind_proxy, kafka.proxied_port) as proxy:
        yield proxy


async def test_no_webhook_is_refused_or_lost_while_kafka_is_away(
    installation: RealInstallation, real_stack: RealStack, wire: Proxy, assert_exact: Exact
) -> None:
    bus = f"kafka://{real_stack.kafka_server.proxied}"
    door = installation.door().wait_ready()
    relay = installation.relay(BUS=bus).wait_ready()
    writer = installation.lake_writer(BUS=bus).wait_ready()

    async with posting(door.endpoint.http_port) as load:
        await until(lambda: landed(installation.data) > 0, HEALS_WITHIN_S, "the first commit")
        begun, before = time.monotonic(), len(load.acknowledged)
        wire.cut()
        await until(lambda: not (relay.ready() or writer.ready()), NOTICED_WITHIN_S, "both say it")
        noticed_s = time.monotonic() - begun
        await asyncio.sleep(begun + AWAY_S - time.monotonic())  # the length of the outage is what is tried
        taken = len(load.acknowledged) - before
        behind = len(load.acknowledged) - landed(installation.data)
        assert door.ready()

        restored = time.monotonic()
        wire.restore()
        await until(
            lambda: len(load.acknowledged) - landed(installation.data) <= PER_S,
            LEVEL_WITHIN_S,
            "less than a second of the load is left of the lag",
        )
        level_s = time.monotonic() - restored
        await until(lambda: relay.ready() and writer.ready(), HEALS_WITHIN_S, "both are ready again")
    print(
        f"\nKafka away for {AWAY_S:.0f} s: {taken / AWAY_S:,.0f} webhooks/s accepted meanwhile, 0 refused; "
        f"said by relay and lake writer after {noticed_s:.1f} s; "
        f"{behind:,} messages behind at its return, level {level_s:.1f} s after it under the same load"
    )
    assert load.refused == []
    await asyncio.to_thread(installation.wait_landed)
    writer.stop()
    relay.stop()
    assert_exact(installation.data, load.acknowledged)


async def test_without_etcd_the_lake_goes_on_and_its_keeper_says_that_it_cannot(
    installation: RealInstallation, real_stack: RealStack, assert_exact: Exact
) -> None:
    door = installation.door().wait_ready()
    for process in (installation.relay(), installation.lake_writer()):
        process.wait_ready()
    with Proxy(real_stack.etcd_server.port) as wire:
        keeper = installation.maintenance(COORDINATION=f"etcd://{wire.address}", **EAGER).wait_ready()
        first = [message(f"{FIRST_ID + number}") for number in range(200)]
        assert set(await post_all(door.endpoint.http_port, first)) == {OK}
        await asyncio.to_thread(installation.wait_landed)
        wire.cut()
        await until(lambda: not keeper.ready(), NOTICED_WITHIN_S, "the keeper says it")
        second = [message(f"{FIRST_ID + number}") for number in range(100, 400)]
        assert set(await post_all(door.endpoint.http_port, second)) == {OK}
        await asyncio.to_thread(installation.wait_landed)
        assert keeper.alive
        wire.restore()
        await until(keeper.ready, HEALS_WITHIN_S, "the keeper is ready again")
        keeper.stop()
    assert_exact(installation.data, [*first, *second])


@dataclass
class Api:
    """Clients of id-, query- and auth-service, and every id that was drawn."""

    ids: Process
    query: Process
    auth: Process
    credentials: dict[str, str]
    drawn: list[str] = field(default_factory=list)

    async def draw(self) -> tuple[int, str]:
        """Take 100 ids of a segment tag: status and error code."""
        body = {"workspace": "demo", "group": "default", "biz_tag": "order-id", "size": 100}
        answer = await self._ask(self.ids, "POST", "generate/batch", "user_key", json=body)
        if answer.status_code == OK:
            self.drawn += answer.json()["ids"]
            return OK, ""
        return answer.status_code, answer.json()["error"]["code"]

    async def counted(self) -> int:
        """Messages of the lake, by query-service."""
        window = {"start": "1970-01-01", "end": "2099-01-01", "limit": "1"}
        answer = await self._ask(self.query, "GET", "messages", "user_key", params=window)
        answer.raise_for_status()
        return int(answer.json()["total"])

    async def managed(self) -> tuple[int, str]:
        """An administrator's question, which only the database can answer: status and error code."""
        answer = await self._ask(self.auth, "GET", "workspaces", "admin_key")
        return answer.status_code, "" if answer.status_code == OK else answer.json()["error"]["code"]

    async def _ask(self, process: Process, method: str, path: str, key: str, **more: Any) -> httpx.Response:
        url = f"http://127.0.0.1:{process.endpoint.http_port}/api/v1/{path}"
        async with httpx.AsyncClient(trust_env=False, timeout=NOTICED_WITHIN_S) as client:
            return await client.request(method, url, headers={"X-API-Key": self.credentials[key]}, **more)


async def test_without_postgresql_the_way_of_a_message_goes_on_and_what_cannot_says_so(
    installation: RealInstallation, real_stack: RealStack, assert_exact: Exact
) -> None:
    """Away in three ways: refused, silent, and only slow."""
    door, relay, writer = installation.door(), installation.relay(), installation.lake_writer()
    with Proxy(real_stack.postgresql_server.port) as wire:
        database = {
            name: installation.database(name).replace(f":{wire.target_port}/", f":{wire.port}/")
            for name in ("auth", "ids")
        }
        auth = installation.auth(AUTH_DATABASE_URL=database["auth"])
        ids, query = installation.ids(ID_DATABASE_URL=database["ids"]), installation.query()
        everything = (door, relay, writer, auth, ids, query)
        for process in everything:
            process.wait_ready()
        api = Api(ids, query, auth, msgspec.json.decode(installation.credentials.read_bytes()))
        sent: list[bytes] = []

        async def post_and_count() -> None:
            more = [message(f"{FIRST_ID + len(sent) + number}") for number in range(50)]
            assert set(await post_all(door.endpoint.http_port, more)) == {OK}
            sent.extend(more)
            await asyncio.to_thread(installation.wait_landed)
            await until_true(api.counted, len(sent), HEALS_WITHIN_S)

        for take_away in (wire.cut, wire.stall):
            assert await api.draw() == (OK, "")
            assert await api.managed() == (OK, "")
            await post_and_count()
            take_away()
            await post_and_count()
            while (outcome := await api.draw()) == (OK, ""):  # from memory, as long as that lasts
                pass
            assert outcome == (503, "IDGEN-SEG-1003")
            assert await api.managed() == (503, "IDGEN-COMMON-0005")
            await until(lambda: not auth.ready(), NOTICED_WITHIN_S, "auth-service says it")
            assert [process.name for process in everything if not process.ready()] == [auth.name]
            if take_away == wire.stall:
                await asyncio.sleep(KEY_TTL_S)  # the others have to ask auth-service again
                assert await api.counted() == len(sent)

            wire.restore()
            await until(auth.ready, HEALS_WITHIN_S, "auth-service is ready again")
            await until_true(api.draw, (OK, ""), HEALS_WITHIN_S)
            assert await api.managed() == (OK, "")

        wire.delay(0.05)
        for _ in range(15):  # more than one step's worth of ids
            assert await api.draw() == (OK, "")
        assert await api.managed() == (OK, "")
        assert auth.ready()
    assert len(set(api.drawn)) == len(api.drawn)
    assert_exact(installation.data, sent)


async def until_true(ask: Callable[[], Awaitable[T]], answer: T, within_s: float) -> None:
    """Ask again and again until this is the answer."""

    async def given() -> bool:
        return await ask() == answer

    await eventually_true(given, within_s, f"answer {answer}")


@asynccontextmanager
async def posting(port: int) -> AsyncIterator[SteadyLoad]:
    """Webhooks at PER_S until the block is left, each a message of its own; the answers are all there then."""
    bodies = (message(f"{FIRST_ID + number}") for number in itertools.count())
    load = SteadyLoad(port, bodies, PER_S)
    running = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        load.stop()
        await running


def landed(data: Path) -> int:
    """Rows of the messages table."""
    path = data / "parquet" / "messages"
    if not DeltaTable.is_deltatable(str(path)):
        return 0
    files = pa.table(DeltaTable(str(path)).get_add_actions(flatten=True))
    return int(pc.sum(files["num_records"]).as_py() or 0)


async def until(condition: Callable[[], bool], within_s: float, what: str) -> None:
    """`wait_until` in a thread, so that the load goes on."""
    await asyncio.to_thread(wait_until, condition, within_s, what)
