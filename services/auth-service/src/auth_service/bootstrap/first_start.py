"""Credentials at every start: made once, kept, repaired when asked.

The file is a write-ahead record. Under the database's write lock, new key texts go durably to the file
first and their hashes to the database second, together with the mark that the first start is complete:

- killed before the file is in place: neither exists; the next start makes new keys;
- killed between file and commit: the next start finds a file and no mark, and enters the file's keys;
- killed after the commit: both exist.

So there is no moment at which a key is valid and its text is nowhere, and a file that holds the only copy
of another database's keys is adopted rather than overwritten. Two processes that start at once are put
in order by the write lock; the second finds the work done.
"""

import asyncio
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from uuid import uuid4

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.bootstrap.credentials import SETTING, Credentials, read_credentials, write_credentials
from auth_service.database.engine import writing
from auth_service.database.tables import installation
from auth_service.keys import store
from auth_service.keys.model import LONGEST_LIFETIME_MS, Key, Role, Workspace
from auth_service.keys.requests import KeyRequest, WorkspaceRequest
from auth_service.keys.scopes import DEMO_USER
from auth_service.keys.text import new_key_text
from auth_service.settings import ADMIN_KEY, AuthSettings
from millrace_runtime.auth import key_hash
from millrace_runtime.clock import Clock
from millrace_runtime.crash import crash_point
from millrace_runtime.logs import get_logger
from millrace_runtime.settings import SettingsError

log = get_logger(__name__)

WORKSPACE = "demo"
RENEW = "MILLRACE_CREDENTIALS_RENEW"


class Outcome(Enum):
    """What a start did about the credentials."""

    CREATED = "created"
    """The first start: keys and workspace are new, or entered from the file that was there."""

    KEPT = "kept"
    """File and database agree."""

    RENEWED = "renewed"
    """Keys that did not work were replaced and the file written anew, because the environment said so."""

    STALE = "stale"
    """The file is missing or names a key that does not work; the service runs all the same, and the log
    says how to get new keys."""


@dataclass(frozen=True, slots=True)
class BootstrapInfo:
    """What a start did, and where the credentials are."""

    outcome: Outcome
    credentials_file: Path


async def bootstrap(
    engine: AsyncEngine, settings: AuthSettings, path: Path, *, clock: Clock
) -> BootstrapInfo:
    """Make the installation usable: one enabled admin key, workspace `demo` with its user key, and the
    file at `path` that tells them. Repeatable; may be killed at any moment.

    Raises:
        SettingsError: the credentials file is none of ours or cannot be written; the admin key of the
            environment was revoked; production without an admin key in the environment.
    """
    async with writing(engine) as connection:
        file = await asyncio.to_thread(read_credentials, path)
        step = _Start(connection, settings, clock.now_ms())
        user_key = await step.first_user_key()
        outcome, wanted = await (step.create(file) if user_key is None else step.repair(file, user_key))
        if wanted is not None and wanted != file:
            crash_point("BEFORE_CREDENTIALS_FILE")
            await asyncio.to_thread(write_credentials, path, wanted)
        crash_point("AFTER_CREDENTIALS_FILE_BEFORE_COMMIT")
    crash_point("AFTER_BOOTSTRAP_COMMIT")
    if outcome is Outcome.STALE:
        log.warning(
            "credentials_do_not_work",
            reason="the credentials file is missing, or a key in it is unknown, revoked or expired",
            setting=SETTING,
            remedy=f"put the file back, or start once with {RENEW}=1 to replace the keys that do not work",
        )
    else:
        log.info("credentials_checked", outcome=outcome.value)
    return BootstrapInfo(outcome, path)


@dataclass(frozen=True, slots=True)
class _Start:
    """One start's work on the tables, within the caller's transaction."""

    connection: AsyncConnection
    settings: AuthSettings
    now_ms: int

    async def first_user_key(self) -> Key | None:
        """The user key that the first start made, or a renewal since; None before the first start."""
        key_id = await self.connection.scalar(select(installation.c.user_key_id))
        return None if key_id is None else await store.key_by_id(self.connection, key_id)

    async def create(self, file: Credentials | None) -> tuple[Outcome, Credentials | None]:
        """Enter workspace and keys: the file's if there is one, else new ones. Gives the content that
        the file should have."""
        wanted = Credentials(
            workspace=file.workspace if file else WORKSPACE,
            admin_key=self._environment_key() or (file.admin_key if file else self._new_admin_text()),
            user_key=file.user_key if file else new_key_text(WORKSPACE),
        )
        workspace = await store.insert_workspace(
            self.connection, WorkspaceRequest(wanted.workspace).checked(), now_ms=self.now_ms
        )
        await self._insert(None, "admin", wanted.admin_key)
        user = await self._insert(workspace, "first", wanted.user_key, DEMO_USER)
        await self.connection.execute(
            insert(installation).values(id=1, user_key_id=user.id, bootstrapped_at_ms=self.now_ms)
        )
        return Outcome.CREATED, wanted

    async def repair(self, file: Credentials | None, user_key: Key) -> tuple[Outcome, Credentials | None]:
        """Follow the environment's admin key; replace keys that do not work if that is asked for.
        Gives the content that the file should have, None when nobody knows the texts."""
        admin = await self._follow_environment() or (file.admin_key if file else None)
        user = file.user_key if file else None
        admin_works = await self._works(admin, Role.ADMIN)
        user_works = await self._works(user, Role.USER)
        outcome = Outcome.KEPT if admin_works and user_works else Outcome.STALE
        if outcome is Outcome.STALE and self.settings.credentials_renew:
            outcome = Outcome.RENEWED
            admin = admin if admin_works else await self._replace_admin(self._new_admin_text())
            user = user if user_works else await self._replace_user(user_key)
        if admin is None or user is None:
            return outcome, None
        assert user_key.workspace is not None  # a user key is of a workspace
        return outcome, Credentials(user_key.workspace, admin, user)

    async def _follow_environment(self) -> str | None:
        """Make the environment's admin key the enabled one and renew its life (ID-60)."""
        text = self._environment_key()
        if text is None:
            return None
        key = await store.key_by_hash(self.connection, key_hash(text))
        if key is None:
            await self._replace_admin(text)
            log.info("admin_key_replaced", setting=ADMIN_KEY)
        elif not key.enabled:
            raise SettingsError(f"{ADMIN_KEY}: this key was revoked, which is final; set another one")
        else:
            await store.extend_key(
                self.connection, key.id, expires_at_ms=self._longest_life(), now_ms=self.now_ms
            )
        return text

    async def _works(self, text: str | None, role: Role) -> bool:
        key = await store.key_by_hash(self.connection, key_hash(text)) if text else None
        return key is not None and key.enabled and key.role is role and key.expires_at_ms > self.now_ms

    async def _replace_admin(self, text: str) -> str:
        former = await store.enabled_admin(self.connection)
        if former is not None:
            await store.disable_key(self.connection, former.id, now_ms=self.now_ms)
        await self._insert(None, "admin", text)
        return text

    async def _replace_user(self, former: Key) -> str:
        assert former.workspace_id is not None  # a user key is of a workspace
        workspace = await store.workspace_by_id(self.connection, former.workspace_id)
        assert workspace is not None  # by foreign key
        await store.disable_key(self.connection, former.id, now_ms=self.now_ms)
        text = new_key_text(workspace.name)
        key = await self._insert(workspace, f"renewed-{uuid4().hex[:8]}", text, DEMO_USER)
        await self.connection.execute(update(installation).values(user_key_id=key.id))
        return text

    async def _insert(
        self, workspace: Workspace | None, name: str, text: str, scopes: tuple[str, ...] = ()
    ) -> Key:
        request = KeyRequest(name, scopes=scopes, expires_at_ms=self._longest_life())
        new = request.checked(workspace, now_ms=self.now_ms)
        return await store.insert_key(self.connection, new, text, now_ms=self.now_ms)

    def _environment_key(self) -> str | None:
        secret = self.settings.admin_key
        return None if secret is None else secret.get_secret_value()

    def _new_admin_text(self) -> str:
        if self.settings.environment == "production":
            raise SettingsError(f"{ADMIN_KEY} is not set: in production the admin key is not made here")
        return new_key_text(None)

    def _longest_life(self) -> int:
        return self.now_ms + LONGEST_LIFETIME_MS
