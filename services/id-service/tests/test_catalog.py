"""Which tags exist (ID-48, ID-51), and the algorithm they ask for (ID-30)."""

import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from id_service.catalog.cached import TTL_S, Catalog
from id_service.catalog.seed import DEMO_TAG, seed_demo
from id_service.catalog.store import CatalogStore
from id_service.catalog.tag import Algorithm, IdFormat, Tag, TagName
from id_service.database.tables import biz_tags, groups, segments
from id_service.router.algorithm import algorithm_named, choose
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_testkit.clock import ManualClock

ORDER_ID = TagName("acme", "shop", "order-id")


async def code_of(store: CatalogStore | Catalog, name: TagName, *, known: bool = False) -> ErrorCode:
    with pytest.raises(ServiceError) as refused:
        await store.find(name, workspace_is_known=known)
    return refused.value.code


async def test_a_tag_is_found_by_its_full_name(store: CatalogStore, tag: Tag) -> None:
    assert await store.find(ORDER_ID) == Tag(
        tag.id, ORDER_ID, Algorithm.SEGMENT, IdFormat.NUMERIC, "", 10, frozenset({0})
    )


async def test_each_unknown_part_has_its_own_code_and_creates_nothing(
    store: CatalogStore, tag: Tag, engine: AsyncEngine
) -> None:
    assert await code_of(store, TagName("nobody", "shop", "order-id")) is ErrorCode.WORKSPACE_NOT_FOUND
    assert await code_of(store, TagName("acme", "none", "order-id")) is ErrorCode.GROUP_NOT_FOUND
    assert await code_of(store, TagName("acme", "shop", "none")) is ErrorCode.BIZ_TAG_NOT_FOUND
    assert await code_of(store, TagName("acme", "shop", "ORDER-ID")) is ErrorCode.BIZ_TAG_NOT_FOUND
    assert await code_of(store, TagName("new", "shop", "none"), known=True) is ErrorCode.GROUP_NOT_FOUND
    async with engine.connect() as connection:
        for table, rows in ((groups, 1), (biz_tags, 1), (segments, 0)):
            assert await connection.scalar(select(func.count()).select_from(table)) == rows


async def test_seeding_twice_changes_nothing(store: CatalogStore, engine: AsyncEngine) -> None:
    await seed_demo(store)
    first = await store.find(DEMO_TAG)
    await seed_demo(store)

    assert await store.find(DEMO_TAG) == first
    assert (first.algorithm, first.format, first.base_step) == (
        Algorithm.SEGMENT, IdFormat.NUMERIC, 1000
    )  # fmt: skip
    async with engine.connect() as connection:
        assert await connection.scalar(select(func.count()).select_from(biz_tags)) == 1


async def test_a_tag_needs_its_group(store: CatalogStore) -> None:
    with pytest.raises(ServiceError) as refused:
        await store.add_tag(ORDER_ID)
    assert refused.value.code is ErrorCode.GROUP_NOT_FOUND


async def test_a_change_is_seen_within_the_time_to_live(
    store: CatalogStore, tag: Tag, engine: AsyncEngine, clock: ManualClock
) -> None:
    catalog = Catalog(store, clock)
    await catalog.find(ORDER_ID)
    async with engine.begin() as connection:
        await connection.execute(update(biz_tags).values(base_step=77))

    assert (await catalog.find(ORDER_ID)).base_step == 10
    clock.advance(TTL_S)
    assert (await catalog.find(ORDER_ID)).base_step == 77


async def test_a_deleted_tag_is_unknown_within_the_time_to_live(
    store: CatalogStore, tag: Tag, engine: AsyncEngine, clock: ManualClock
) -> None:
    catalog = Catalog(store, clock)
    await catalog.find(ORDER_ID)
    async with engine.begin() as connection:
        await connection.execute(delete(biz_tags))
    clock.advance(TTL_S)

    assert await code_of(catalog, ORDER_ID) is ErrorCode.BIZ_TAG_NOT_FOUND


async def test_without_the_database_known_tags_go_on_and_others_are_503(
    store: CatalogStore, tag: Tag, engine: AsyncEngine, clock: ManualClock
) -> None:
    catalog = Catalog(store, clock)
    await catalog.find(ORDER_ID)
    async with engine.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE biz_tags RENAME TO gone")
    clock.advance(3600)

    assert await catalog.find(ORDER_ID) == tag
    other = TagName("acme", "shop", "other")
    assert await code_of(catalog, other) is ErrorCode.DATABASE_UNAVAILABLE


async def test_no_more_tags_are_kept_than_allowed(
    store: CatalogStore, tag: Tag, engine: AsyncEngine, clock: ManualClock
) -> None:
    names = [TagName("acme", "shop", f"tag-{number}") for number in range(3)]
    for name in names:
        await store.add_tag(name)
    catalog = Catalog(store, clock, max_tags=2)
    for name in names:
        await catalog.find(name)
    async with engine.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE biz_tags RENAME TO gone")

    assert await code_of(catalog, names[0]) is ErrorCode.DATABASE_UNAVAILABLE
    for name in names[1:]:
        assert (await catalog.find(name)).name == name


@pytest.mark.parametrize(
    "wrong",
    [
        {"algorithm": "uuid_v7"},
        {"format": "uuid"},
        {"format": "prefixed"},
        {"algorithm": "dice"},
        {"base_step": 0},
        {"base_step": 1_000_001},
        {"max_step": 9},
    ],
)
async def test_the_database_refuses_tags_that_contradict_themselves(
    tag: Tag, engine: AsyncEngine, wrong: dict[str, object]
) -> None:
    with pytest.raises(IntegrityError):
        async with engine.begin() as connection:
            await connection.execute(update(biz_tags).values(**wrong))


@pytest.mark.parametrize(
    ("text", "algorithm"),
    [
        ("segment", Algorithm.SEGMENT),
        ("SEGMENT", Algorithm.SEGMENT),
        ("UUID_V7", Algorithm.UUID_V7),
        ("uuidv7", Algorithm.UUID_V7),
        ("Uuid7", Algorithm.UUID_V7),
        ("uuidv4", Algorithm.UUID_V4),
        ("uuid4", Algorithm.UUID_V4),
    ],
)
def test_algorithms_have_aliases_in_any_case(text: str, algorithm: Algorithm) -> None:
    assert algorithm_named(text) is algorithm


@pytest.mark.parametrize("text", ["dice", "uuid_v8", "seg", "segment ", "ſegment"])
def test_an_unknown_algorithm_is_refused(text: str) -> None:
    with pytest.raises(ServiceError) as refused:
        algorithm_named(text)
    assert refused.value.code is ErrorCode.INVALID_REQUEST


async def test_the_request_decides_before_the_tag_within_its_format(store: CatalogStore, tag: Tag) -> None:
    assert choose(None, tag) is Algorithm.SEGMENT
    assert choose("", tag) is Algorithm.SEGMENT
    for unfit in ("uuid_v7", "snowflake", "uuid_v4"):
        with pytest.raises(ServiceError):
            choose(unfit, tag)
    name = TagName("acme", "shop", "event-id")
    await store.add_tag(name, algorithm=Algorithm.UUID_V7, format=IdFormat.UUID)
    event = await store.find(name)
    assert choose(None, event) is Algorithm.UUID_V7
    for unfit in ("segment", "uuid_v4"):
        with pytest.raises(ServiceError):
            choose(unfit, event)
