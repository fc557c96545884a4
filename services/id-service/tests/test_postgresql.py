"""The server of the database stops, is killed and stands still, while ids are drawn (ID-2, ID-51)."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from id_service.catalog.tag import Tag
from id_service.database.connect import open_engine
from id_service.database.tables import segment_allocations
from id_service.segment.allocator import SegmentAllocator
from id_service.segment.source import SegmentSource
from millrace_relational import DatabaseUrl
from millrace_runtime.clock import SYSTEM_CLOCK
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_testkit.ports import free_offset
from millrace_testkit.real.postgresql import PostgresqlServer
from millrace_testkit.relational import new_schema
from millrace_testkit.waiting import until

from .test_process import environment, running

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

GENERATE = "/api/v1/generate"
BODY = {"workspace": "acme", "group": "shop", "biz_tag": "order-id"}
HEALED_WITHIN_S = 20.0


@pytest.fixture
async def empty(real_postgresql: PostgresqlServer) -> DatabaseUrl:
    """On the server only."""
    return DatabaseUrl.parse(await new_schema(real_postgresql.url))


class Node:
    """One process's worth of an id service, which draws until it is told to stop."""

    def __init__(self, url: DatabaseUrl, tag: Tag, name: str) -> None:
        self.drawn: list[int] = []
        self.failures: list[ErrorCode] = []
        self._tag = tag
        self._engine = open_engine(url)
        allocator = SegmentAllocator(self._engine, datacenter_id=0, node_id=name, clock=SYSTEM_CLOCK)
        self._source = SegmentSource(allocator)

    async def draw(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                ranges = await self._source.take(self._tag, 7)
            except ServiceError as error:
                self.failures.append(error.code)
                await asyncio.sleep(0.02)
            else:
                self.drawn.extend(number for held in ranges for number in held)

    async def has_drawn_more(self) -> None:
        before = len(self.drawn)

        async def more() -> bool:
            return len(self.drawn) > before

        await until(more, HEALED_WITHIN_S, "ids drawn")

    async def close(self) -> None:
        await self._source.close()
        await self._engine.dispose()


@pytest.mark.faults
async def test_restarts_under_load_give_no_id_twice_and_every_node_goes_on(
    real_postgresql: PostgresqlServer, url: DatabaseUrl, engine: AsyncEngine, tag: Tag
) -> None:
    nodes = [Node(url, tag, f"node-{number}") for number in range(3)]
    stop = asyncio.Event()
    drawing = [asyncio.create_task(node.draw(stop)) for node in nodes for _ in range(3)]

    for end in (real_postgresql.stop, real_postgresql.kill, real_postgresql.kill):
        await asyncio.gather(*(node.has_drawn_more() for node in nodes))
        await asyncio.to_thread(end)
        await asyncio.to_thread(real_postgresql.start)
    await asyncio.gather(*(node.has_drawn_more() for node in nodes))
    stop.set()
    await asyncio.gather(*drawing)
    for node in nodes:
        await node.close()

    ids = [number for node in nodes for number in node.drawn]
    assert len(set(ids)) == len(ids)
    failures = {code for node in nodes for code in node.failures}
    assert failures <= {ErrorCode.DATABASE_UNAVAILABLE, ErrorCode.SEGMENT_ALLOCATE_FAILED}
    async with engine.connect() as connection:
        columns = segment_allocations.c
        allocated = await connection.scalar(select(func.sum(columns.last_id - columns.first_id + 1)))
    assert allocated >= len(ids)


@pytest.mark.faults
@pytest.mark.parametrize("away", ["stop", "pause"])
async def test_without_the_server_requests_are_503_in_time_and_heal_by_themselves(
    real_postgresql: PostgresqlServer, served: Any, away: str
) -> None:
    back: Callable[[], Any] = real_postgresql.start if away == "stop" else real_postgresql.resume
    async with _client(served) as http:
        assert (await http.post(GENERATE, json=BODY)).status_code == 200
        await asyncio.to_thread(getattr(real_postgresql, away))
        try:
            refused = await _refused(http)
            healthy, ready = await asyncio.gather(http.get("/health"), http.get("/ready"))
        finally:
            await asyncio.to_thread(back)
        assert refused.json()["error"]["code"] == "IDGEN-SEG-1003"
        assert "does not answer" in refused.json()["error"]["message"]
        assert "127.0.0.1" not in refused.text
        assert healthy.json()["status"] == "degraded"
        assert ready.status_code == 200, ready.text  # ID-50: UUIDs need no database

        async def works() -> bool:
            return (await http.post(GENERATE, json=BODY)).status_code == 200

        await until(works, HEALED_WITHIN_S, "ids by HTTP")


async def _refused(http: httpx.AsyncClient) -> httpx.Response:
    """The first answer that is not 200: ids in memory go on for a while."""
    async with asyncio.timeout(HEALED_WITHIN_S):
        while (answer := await http.post(GENERATE, json=BODY)).status_code == 200:
            pass
    assert answer.status_code == 503
    return answer


def _client(served: Any) -> httpx.AsyncClient:
    headers = {"X-API-Key": "user-key"}
    return httpx.AsyncClient(base_url=served.http_url, headers=headers, trust_env=False, timeout=15)


async def test_a_database_that_is_not_there_ends_the_start_in_one_line(
    real_postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    url = f"postgresql://millrace:s3cret@127.0.0.1:{real_postgresql.port}/absent"
    env = environment(tmp_path, MILLRACE_ID_DATABASE_URL=url, MILLRACE_PORT_OFFSET=str(free_offset()))
    async with running(env) as process:
        _, said = await process.communicate()

    assert process.returncode == 78
    lines = said.decode().strip().splitlines()
    assert lines == [
        'MILLRACE_ID_DATABASE_URL: the server has no such database: database "absent" does not exist'
    ]
