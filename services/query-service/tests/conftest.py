"""The service over a real Delta table of messages in a temporary directory."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import httpx
import pytest

from millrace_runtime.auth import Principal
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.service import Service
from millrace_testkit.clock import ManualClock
from millrace_testkit.messages_lake import DAY, MessagesLake
from query_service.compose import compose
from query_service.search.handle import LakeHandle
from query_service.search.run import Searcher, connect
from query_service.settings import QuerySettings


@pytest.fixture
def lake(tmp_path: Path) -> MessagesLake:
    return MessagesLake(tmp_path / "parquet")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(DAY + timedelta(hours=12))


@pytest.fixture
def handle(lake: MessagesLake, clock: ManualClock) -> LakeHandle:
    return LakeHandle(lake.table, clock)


@pytest.fixture
def searcher(handle: LakeHandle, tmp_path: Path) -> Iterator[Searcher]:
    with connect(threads=2, memory_limit="256MB", temp_directory=tmp_path / "scratch") as connection:
        yield Searcher(handle, connection)


class Keys:
    """Three keys: `reader`, `clear` (may unmask) and `nothing`."""

    scopes: ClassVar = {
        "reader": {"lake:read"},
        "clear": {"lake:read", "lake:unmask"},
        "nothing": {"id:generate"},
    }

    async def check(self, api_key: str) -> Principal:
        if api_key not in self.scopes:
            raise ServiceError(ErrorCode.INVALID_API_KEY, "the API key is not known")
        return Principal(api_key, "demo", "user", frozenset(self.scopes[api_key]), 0, 1000)


@pytest.fixture
async def service(lake: MessagesLake, clock: ManualClock) -> AsyncIterator[Service]:
    lake.after_commit = lambda: clock.advance(1.0)
    settings = QuerySettings(lake=str(lake.root), query_memory="256MB")
    async with compose(settings, verifier=Keys(), clock=clock) as composed:
        yield composed


@pytest.fixture
async def http(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=service.http, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://lake", headers={"X-API-Key": "reader"}
    ) as client:
        yield client
