"""Groups and tags in the database."""

import uuid
from collections.abc import Sequence

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from id_service.catalog.tag import Algorithm, IdFormat, Tag, TagName
from id_service.database.connect import database_errors
from id_service.database.tables import biz_tags, groups
from id_service.database.write import insert_if_absent, retry_conflicts
from id_service.errors import database_unavailable, unknown_group, unknown_tag, unknown_workspace
from millrace_relational import WriteConflictError
from millrace_runtime.clock import Clock
from millrace_runtime.errors import ServiceError


class CatalogStore:
    """The catalog as the database has it at this moment."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def find(self, name: TagName, *, workspace_is_known: bool = False) -> Tag:
        """The tag of this name. Creates nothing (ID-51).

        Workspaces live in the auth service. `workspace_is_known` says that the caller's key belongs
        to this one, so that it exists; else a workspace without any group counts as unknown.

        Raises:
            ServiceError: WORKSPACE_NOT_FOUND, GROUP_NOT_FOUND, BIZ_TAG_NOT_FOUND, or
                DATABASE_UNAVAILABLE when the database cannot say.
        """
        try:
            with database_errors():
                async with self._engine.connect() as connection:
                    tag = await _read_tag(connection, name)
                    if tag is None:
                        raise await _what_is_unknown(connection, name, workspace_is_known)
                    return tag
        except WriteConflictError as error:
            raise database_unavailable() from error

    async def add_group(self, workspace: str, name: str) -> None:
        """Make the group unless it exists; safe when several processes do it at once.

        Raises:
            WriteConflictError: other writers held the database for 2 s.
            ServiceError: DATABASE_UNAVAILABLE.
        """
        now = self._clock.now()
        row = {
            "id": str(uuid.uuid4()),
            "workspace": workspace,
            "name": name,
            "created_at": now,
            "updated_at": now,
        }
        await retry_conflicts(
            lambda: insert_if_absent(self._engine, groups, row, "workspace", "name"),
            monotonic=self._clock.monotonic,
        )

    async def add_tag(
        self,
        name: TagName,
        *,
        algorithm: Algorithm = Algorithm.SEGMENT,
        format: IdFormat = IdFormat.NUMERIC,
        prefix: str = "",
        base_step: int = 1000,
        datacenter_ids: Sequence[int] = (0,),
    ) -> None:
        """Make the tag in its existing group unless it exists; an existing tag stays as it is.

        Raises:
            ServiceError: GROUP_NOT_FOUND, DATABASE_UNAVAILABLE.
            WriteConflictError: other writers held the database for 2 s.
        """
        now = self._clock.now()
        with database_errors():
            async with self._engine.connect() as connection:
                group_id = await connection.scalar(
                    select(groups.c.id).where(
                        groups.c.workspace == name.workspace, groups.c.name == name.group
                    )
                )
        if group_id is None:
            raise unknown_group(name.group)
        row = {
            "id": str(uuid.uuid4()),
            "group_id": group_id,
            "name": name.biz_tag,
            "algorithm": algorithm.value,
            "format": format.value,
            "prefix": prefix,
            "base_step": base_step,
            "max_step": max(100_000, base_step),
            "datacenter_ids": list(datacenter_ids),
            "created_at": now,
            "updated_at": now,
        }
        await retry_conflicts(
            lambda: insert_if_absent(self._engine, biz_tags, row, "group_id", "name"),
            monotonic=self._clock.monotonic,
        )


async def _read_tag(connection: AsyncConnection, name: TagName) -> Tag | None:
    found = await connection.execute(
        select(biz_tags)
        .join(groups)
        .where(
            groups.c.workspace == name.workspace,
            groups.c.name == name.group,
            biz_tags.c.name == name.biz_tag,
        )
    )
    row = found.one_or_none()
    if row is None:
        return None
    return Tag(
        id=row.id,
        name=name,
        algorithm=Algorithm(row.algorithm),
        format=IdFormat(row.format),
        prefix=row.prefix,
        base_step=row.base_step,
        datacenter_ids=frozenset(row.datacenter_ids),
    )


async def _what_is_unknown(
    connection: AsyncConnection, name: TagName, workspace_is_known: bool
) -> ServiceError:
    in_workspace = groups.c.workspace == name.workspace
    if not workspace_is_known and not await connection.scalar(select(exists().where(in_workspace))):
        return unknown_workspace(name.workspace)
    if not await connection.scalar(select(exists().where(in_workspace, groups.c.name == name.group))):
        return unknown_group(name.group)
    return unknown_tag(name.biz_tag)
