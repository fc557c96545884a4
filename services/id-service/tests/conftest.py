"""A real database, a tag in it, and a served service for the tests of the id service."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from id_service.catalog.store import CatalogStore
from id_service.catalog.tag import Algorithm, IdFormat, Tag, TagName
from id_service.compose import compose
from id_service.database.connect import open_engine
from id_service.database.migrate import migrate
from id_service.settings import IdSettings
from millrace_relational import DatabaseUrl
from millrace_runtime.auth import Principal
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.service import PORTS, Endpoint, Service, serving
from millrace_testkit.clock import ManualClock
from millrace_testkit.ports import free_offset
from millrace_testkit.relational import new_schema

ORDER_ID = TagName("acme", "shop", "order-id")


def text_of(url: DatabaseUrl) -> str:
    """As a setting has it."""
    text = url.url.render_as_string(hide_password=False)
    return f"{text}?{urlencode(url.parameters)}" if url.parameters else text


class KnownKeys:
    """A `Verifier` that knows the given keys and no others."""

    def __init__(self, keys: Mapping[str, Principal]) -> None:
        self.keys = dict(keys)

    async def check(self, api_key: str) -> Principal:
        if api_key not in self.keys:
            raise ServiceError(ErrorCode.INVALID_API_KEY, "the API key is not known")
        return self.keys[api_key]


def user(workspace: str, *scopes: str) -> Principal:
    return Principal("k1", workspace, "user", frozenset(scopes), expires_at_ms=0, rate_limit=1000)


ADMIN = Principal("k0", None, "admin", frozenset({"config:read", "id:generate"}), 0, 1000)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_767_225_600_000)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
async def empty(request: pytest.FixtureRequest, tmp_path: Path) -> DatabaseUrl:
    """An empty database, of each kind in turn."""
    if request.param == "sqlite":
        return DatabaseUrl.parse(f"sqlite+aiosqlite:///{tmp_path}/ids.db")
    return DatabaseUrl.parse(await new_schema(request.getfixturevalue("real_postgresql").url))


@pytest.fixture
async def url(empty: DatabaseUrl) -> DatabaseUrl:
    """A migrated database."""
    await migrate(empty)
    return empty


@pytest.fixture
async def engine(url: DatabaseUrl) -> AsyncIterator[AsyncEngine]:
    engine = open_engine(url)
    yield engine
    await engine.dispose()


@pytest.fixture
def store(engine: AsyncEngine, clock: ManualClock) -> CatalogStore:
    return CatalogStore(engine, clock)


@pytest.fixture
async def tag(store: CatalogStore) -> Tag:
    """`order-id`: numeric, steps of 10."""
    await store.add_group(ORDER_ID.workspace, ORDER_ID.group)
    await store.add_tag(ORDER_ID, base_step=10)
    return await store.find(ORDER_ID)


@dataclass(frozen=True)
class Served:
    """A running service: its ports, and the keys it knows."""

    service: Service
    endpoint: Endpoint
    keys: KnownKeys

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.endpoint.http_port}"

    @property
    def grpc_address(self) -> str:
        return f"127.0.0.1:{self.endpoint.grpc_port}"


def free_endpoint() -> Endpoint:
    return PORTS["id-service"].on("127.0.0.1").shifted(free_offset())


@pytest.fixture
async def served(
    url: DatabaseUrl, clock: ManualClock, store: CatalogStore, tag: Tag
) -> AsyncIterator[Served]:
    """The composed service on free ports, with tags `order-id`, `invoice` (prefixed), `event-id` (UUID)
    and `far` (data centre 1 only)."""
    await store.add_tag(TagName("acme", "shop", "invoice"), format=IdFormat.PREFIXED, prefix="INV-")
    await store.add_tag(
        TagName("acme", "shop", "event-id"), algorithm=Algorithm.UUID_V7, format=IdFormat.UUID
    )
    await store.add_tag(TagName("acme", "shop", "far"), datacenter_ids=[1])
    keys = KnownKeys(
        {
            "user-key": user("acme", "id:generate", "id:parse"),
            "parse-key": user("acme", "id:parse"),
            "generate-key": user("acme", "id:generate"),
            "other-key": user("rival", "id:generate", "id:parse"),
            "admin-key": ADMIN,
        }
    )
    endpoint = free_endpoint()
    settings = IdSettings.load(id_database_url=url)
    async with compose(settings, verifier=keys, clock=clock) as service, serving(service, endpoint):
        yield Served(service, endpoint, keys)
