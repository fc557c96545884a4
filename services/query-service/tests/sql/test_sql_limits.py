"""Time, memory and size of one question, and that the service goes on after each."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpx
import psutil
import pytest

from millrace_runtime.auth import Principal
from millrace_testkit.clock import ManualClock
from millrace_testkit.messages_lake import MessagesLake, message
from query_service.compose import compose
from query_service.settings import QuerySettings

NEVER = "SELECT count(*) FROM range(1000000000000) a WHERE a.range = -1"


class Anyone:
    """Every key may read."""

    async def check(self, api_key: str) -> Principal:
        return Principal(api_key, "demo", "user", frozenset({"lake:read"}), 0, 1000)


@pytest.fixture
async def small(lake: MessagesLake, clock: ManualClock) -> AsyncIterator[httpx.AsyncClient]:
    """A service with little of everything."""
    lake.after_commit = lambda: clock.advance(1.0)
    lake.append(message(1))
    settings = QuerySettings(
        lake=str(lake.root),
        sql_workers=1,
        sql_memory="64MB",
        sql_disk="16MB",
        sql_time_s=1.0,
        sql_answer="1MB",
    )
    async with compose(settings, verifier=Anyone(), clock=clock) as composed:
        transport = httpx.ASGITransport(app=composed.http, raise_app_exceptions=False)
        headers = {"X-API-Key": "any"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://lake", headers=headers, timeout=60
        ) as client:
            yield client


async def ask(client: httpx.AsyncClient, sql: str, **more: object) -> httpx.Response:
    return await client.post("/api/v1/sql", json={"sql": sql, **more})


def workers() -> list[psutil.Process]:
    children = psutil.Process(os.getpid()).children(recursive=True)
    return [child for child in children if "query_service.sql.worker" in child.cmdline()]


@pytest.mark.parametrize(
    ("statement", "limit", "says"),
    [
        (NEVER, "time", "longer than 1 s"),
        (
            "WITH RECURSIVE a AS (SELECT 1 i UNION ALL SELECT i + 1 FROM a) SELECT max(i) FROM a",
            "time",
            "1 s",
        ),
        ("EXPLAIN ANALYZE " + NEVER, "time", "1 s"),
        (
            "SELECT count(DISTINCT md5(i::VARCHAR) || repeat('x', 100)) FROM range(5000000) t(i)",
            "memory",
            "memory",
        ),
        ("SELECT length(repeat('x', 2000000000))", "memory", "memory"),
        ("SELECT sum(length(repeat('x', 10000000 + i))) FROM range(1000) t(i)", "memory", "memory"),
        ("SELECT repeat('x', 1000) FROM range(10000)", "size", "larger than 1 MB"),
    ],
)
async def test_too_much_is_refused_as_such_and_the_next_is_answered(
    small: httpx.AsyncClient, statement: str, limit: str, says: str
) -> None:
    started = time.monotonic()
    answer = await ask(small, statement)
    assert time.monotonic() - started < 10
    assert answer.status_code == 413, answer.text
    error = answer.json()["error"]
    assert error["details"]["parameter"] == "sql"
    if limit != "memory":  # filling memory may take longer than there is time
        assert (error["details"]["limit"], says in error["message"]) == (limit, True)
    assert error["details"]["limit"] in ("time", limit)
    assert (await ask(small, "SELECT count(*) FROM messages")).json()["rows"] == [[1]]


async def test_the_service_itself_stays_small(small: httpx.AsyncClient) -> None:
    await ask(small, "SELECT 1")
    before = psutil.Process().memory_info().rss
    await ask(small, "SELECT length(repeat('x', 2000000000))")
    assert psutil.Process().memory_info().rss - before < 64 << 20


async def test_a_worker_that_dies_is_replaced(small: httpx.AsyncClient) -> None:
    assert (await ask(small, "SELECT 1")).status_code == 200
    (worker,) = workers()
    worker.kill()
    worker.wait()
    assert (await ask(small, "SELECT 1")).status_code == 200

    (worker,) = workers()
    asked = asyncio.create_task(ask(small, NEVER))
    await asyncio.sleep(0.3)
    worker.kill()
    assert (await asked).status_code == 413
    assert (await ask(small, "SELECT 1")).status_code == 200


async def test_a_worker_that_does_not_answer_is_ended(small: httpx.AsyncClient) -> None:
    assert (await ask(small, "SELECT 1")).status_code == 200
    (worker,) = workers()
    with stopped(worker):
        started = time.monotonic()
        answer = await ask(small, "SELECT 1")
        assert (answer.status_code, answer.json()["error"]["details"]["limit"]) == (413, "time")
        assert time.monotonic() - started < 10
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
    assert (await ask(small, "SELECT 1")).status_code == 200


async def test_more_questions_than_workers_wait_their_turn(small: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(ask(small, f"SELECT {number}") for number in range(6)))
    assert [answer.json()["rows"] for answer in answers] == [[[number]] for number in range(6)]
    assert len(workers()) == 1


async def test_workers_end_with_the_service(lake: MessagesLake, clock: ManualClock) -> None:
    settings = QuerySettings(lake=str(lake.root))
    async with compose(settings, verifier=Anyone(), clock=clock) as composed:
        transport = httpx.ASGITransport(app=composed.http)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://lake", headers={"X-API-Key": "any"}
        ) as client:
            assert (await ask(client, "SELECT 1")).status_code == 200
        assert len(workers()) == 1
    assert workers() == []


async def test_a_lake_that_comes_later_is_read(small: httpx.AsyncClient, lake: MessagesLake) -> None:
    """The kernel's rules are for the directory that was there when a worker started."""
    assert (await ask(small, "SELECT count(*) FROM messages")).json()["rows"] == [[1]]
    former = lake.root.rename(lake.root.with_name("former"))
    again = MessagesLake(lake.root, after_commit=lake.after_commit)
    again.append(message(1), message(2))
    assert former.is_dir()
    lake.after_commit()
    assert (await ask(small, "SELECT count(*) FROM messages")).json()["rows"] == [[2]]


@contextmanager
def stopped(process: psutil.Process) -> Iterator[None]:
    process.suspend()
    try:
        yield
    finally:
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            process.resume()
