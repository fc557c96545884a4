"""The first start and the later ones: keys, file and what the environment asks for."""

import asyncio
import io
import json
import os
import stat
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from auth_service.bootstrap.credentials import Credentials, read_credentials, write_credentials
from auth_service.bootstrap.first_start import Outcome
from auth_service.compose import AuthParts
from auth_service.database.engine import open_engine
from auth_service.database.tables import metadata
from auth_service.keys.scopes import ALL
from auth_service.keys.text import new_key_text
from millrace_relational import DatabaseUrl
from millrace_runtime.auth import Principal, key_hash
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.logs import configure_logging
from millrace_runtime.settings import SettingsError
from millrace_testkit.clock import ManualClock

from .conftest import directories

Start = Callable[..., AbstractAsyncContextManager[AuthParts]]

FILE = "credentials.json"
ADMIN = "IDGEN_ADMIN_API_KEY"
DAY_S = 86_400


async def test_the_first_start_makes_an_admin_key_and_a_demo_key(start: Start, data: Path) -> None:
    async with start() as parts:
        kept = _kept(data)
        admin = await parts.verifier.check(kept.admin_key)
        user = await parts.verifier.check(kept.user_key)

    assert parts.bootstrap.outcome is Outcome.CREATED
    assert (admin.role, admin.workspace) == ("admin", None)
    assert "id:generate" not in admin.scopes
    assert (user.role, user.workspace, kept.workspace) == ("user", "demo", "demo")
    assert user.scopes == set(ALL) - {"lake:unmask"}


async def test_the_file_is_for_its_owner_alone_whatever_the_umask(
    start: Start, data: Path, url: DatabaseUrl
) -> None:
    former = os.umask(0)
    try:
        async with start():
            pass
    finally:
        os.umask(former)

    assert _mode(data / FILE) == 0o600
    assert set(_json(data / FILE)) == {"workspace", "admin_key", "user_key"}
    assert _names(data) == {FILE} | directories(url)


async def test_a_second_start_touches_neither_file_nor_keys(start: Start, data: Path) -> None:
    async with start():
        before = _fingerprint(data / FILE)
    async with start() as parts:
        await _require_working(parts, data)

    assert parts.bootstrap.outcome is Outcome.KEPT
    assert _fingerprint(data / FILE) == before


async def test_two_first_starts_at_once_agree(start: Start, data: Path) -> None:
    async def once() -> Outcome:
        async with start() as parts:
            await _require_working(parts, data)
        return parts.bootstrap.outcome

    assert set(await asyncio.gather(once(), once())) == {Outcome.CREATED, Outcome.KEPT}


async def test_a_file_without_its_database_is_entered_not_overwritten(start: Start, data: Path) -> None:
    """The file may hold the only copy of another database's keys."""
    lonely = Credentials("shop", new_key_text(None), new_key_text("shop"))
    write_credentials(data / FILE, lonely)
    async with start() as parts:
        await _require_working(parts, data)

    assert parts.bootstrap.outcome is Outcome.CREATED
    assert _kept(data) == lonely


async def test_a_lost_file_is_said_and_the_service_runs(
    start: Start, data: Path, log_lines: io.StringIO
) -> None:
    async with start():
        lost = _kept(data)
    (data / FILE).unlink()
    async with start() as parts:
        assert (await parts.verifier.check(lost.user_key)).workspace == "demo"

    assert parts.bootstrap.outcome is Outcome.STALE
    assert FILE not in _names(data)
    assert "MILLRACE_CREDENTIALS_RENEW=1" in log_lines.getvalue()


async def test_a_lost_file_is_renewed_when_asked_and_the_lost_keys_are_revoked(
    start: Start, data: Path
) -> None:
    async with start():
        lost = _kept(data)
    (data / FILE).unlink()
    async with start(credentials_renew=True) as parts:
        await _require_working(parts, data)
        refusals = [await _refusal(parts, lost.admin_key), await _refusal(parts, lost.user_key)]

    assert parts.bootstrap.outcome is Outcome.RENEWED
    assert refusals == [ErrorCode.API_KEY_DISABLED, ErrorCode.API_KEY_DISABLED]


async def test_renewing_is_repeatable(start: Start, data: Path) -> None:
    async with start():
        pass
    for _ in range(2):
        (data / FILE).unlink()
        async with start(credentials_renew=True) as parts:
            await _require_working(parts, data)
    before = _fingerprint(data / FILE)
    async with start(credentials_renew=True) as parts:
        assert parts.bootstrap.outcome is Outcome.KEPT
    assert _fingerprint(data / FILE) == before


async def test_expired_keys_are_said_and_renewed_when_asked(
    start: Start, data: Path, clock: ManualClock
) -> None:
    async with start():
        pass
    clock.advance(366 * DAY_S)
    async with start() as parts:
        assert parts.bootstrap.outcome is Outcome.STALE
    async with start(credentials_renew=True) as parts:
        await _require_working(parts, data)


async def test_the_admin_key_of_the_environment_is_used_and_its_life_renewed(
    start: Start, data: Path, clock: ManualClock
) -> None:
    chosen = new_key_text(None)
    async with start(**{ADMIN: chosen}) as parts:
        first = await _require_working(parts, data)
    clock.advance(300 * DAY_S)
    async with start(**{ADMIN: chosen}) as parts:
        second = await _require_working(parts, data)

    assert _kept(data).admin_key == chosen
    assert second.key_id == first.key_id
    assert second.expires_at_ms - first.expires_at_ms == 300 * DAY_S * 1000


async def test_another_admin_key_in_the_environment_replaces_the_former(start: Start, data: Path) -> None:
    async with start():
        former = _kept(data)
    chosen = new_key_text(None)
    async with start(**{ADMIN: chosen}) as parts:
        await _require_working(parts, data)
        assert await _refusal(parts, former.admin_key) is ErrorCode.API_KEY_DISABLED
    assert _kept(data) == Credentials("demo", chosen, former.user_key)

    with pytest.raises(SettingsError, match=f"{ADMIN}: .*revoked") as refused:
        async with start(**{ADMIN: former.admin_key}):
            pass
    assert former.admin_key not in str(refused.value)


async def test_production_makes_no_admin_key(start: Start, data: Path) -> None:
    with pytest.raises(SettingsError, match=f"{ADMIN} is not set"):
        async with start(IDGEN_ENV="production"):
            pass
    assert FILE not in _names(data)

    async with start(**{"IDGEN_ENV": "production", ADMIN: new_key_text(None)}) as parts:
        await _require_working(parts, data)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"workspace": "demo", "admin_key": 1, "user_key": null}',
        json.dumps({"workspace": "demo", "admin_key": new_key_text(None), "user_key": new_key_text("shop")}),
        json.dumps({"workspace": "global", "admin_key": new_key_text(None), "user_key": new_key_text(None)}),
    ],
)
async def test_a_file_that_is_none_of_ours_is_refused_and_left_alone(
    start: Start, data: Path, content: str
) -> None:
    _write(data / FILE, content)
    before = _fingerprint(data / FILE)

    with pytest.raises(SettingsError, match="MILLRACE_CREDENTIALS_FILE"):
        async with start(credentials_renew=True):
            pass
    assert _fingerprint(data / FILE) == before


async def test_a_file_that_cannot_be_written_is_an_error_and_no_key_is_made(start: Start, data: Path) -> None:
    _write(data / "plain", "not a directory")

    with pytest.raises(SettingsError, match="MILLRACE_CREDENTIALS_FILE"):
        async with start(credentials_file=data / "plain" / FILE):
            pass
    async with start() as parts:
        assert parts.bootstrap.outcome is Outcome.CREATED


async def test_no_key_text_in_logs_or_database(
    start: Start, data: Path, url: DatabaseUrl, log_lines: io.StringIO
) -> None:
    chosen = new_key_text(None)
    async with start():
        made = _kept(data)
    async with start(**{ADMIN: chosen}) as parts:
        await _refusal(parts, made.admin_key)
        shown = repr(parts) + repr(_kept(data))
    stored = await _stored(url)

    assert key_hash(chosen) in stored
    for text in (chosen, made.admin_key, made.user_key):
        assert text[-16:] not in stored
        assert text[-16:] not in log_lines.getvalue()
        assert text[-16:] not in shown
    assert "credentials_checked" in log_lines.getvalue()


@pytest.fixture
def log_lines() -> io.StringIO:
    lines = io.StringIO()
    configure_logging("auth-service", "DEBUG", lines)
    return lines


async def _require_working(parts: AuthParts, data: Path) -> Principal:
    """Both keys of the file work; gives the admin."""
    kept = _kept(data)
    assert (await parts.verifier.check(kept.user_key)).workspace == kept.workspace
    admin = await parts.verifier.check(kept.admin_key)
    assert admin.role == "admin"
    return admin


async def _refusal(parts: AuthParts, text: str) -> ErrorCode:
    with pytest.raises(ServiceError) as refused:
        await parts.verifier.check(text)
    return refused.value.code


def _kept(data: Path) -> Credentials:
    found = read_credentials(data / FILE)
    assert found is not None
    return found


def _fingerprint(file: Path) -> tuple[int, int, bytes]:
    status = file.stat()
    return status.st_ino, status.st_mtime_ns, file.read_bytes()


def _mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def _json(file: Path) -> dict[str, str]:
    content: dict[str, str] = json.loads(file.read_text())
    return content


def _names(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir()}


async def _stored(url: DatabaseUrl) -> str:
    """Every row of every table."""
    engine = open_engine(url)
    async with engine.connect() as connection:
        tables = [await connection.execute(table.select()) for table in metadata.sorted_tables]
        rows = [str(row) for table in tables for row in table]
    await engine.dispose()
    return "\n".join(rows)


def _write(file: Path, content: str) -> None:
    file.write_text(content)
