"""The services' databases on a server: dumped by its own program, restored into empty ones, and only there."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from auth_service.bootstrap.credentials import read_credentials
from auth_service.bootstrap.first_start import Outcome
from auth_service.compose import compose as compose_auth
from auth_service.settings import AuthSettings
from id_service.catalog.seed import DEMO_TAG, seed_demo
from id_service.catalog.store import CatalogStore
from id_service.database.connect import open_engine
from id_service.database.migrate import migrate
from id_service.segment.allocator import SegmentAllocator
from id_service.segment.ranges import IdRange
from millrace_relational import DatabaseUrl
from millrace_runtime.clock import SYSTEM_CLOCK
from millrace_testkit.real.postgresql import PostgresqlServer
from millrace_testkit.real.secured.credentials import OWNER, Login
from millrace_testkit.real.secured.postgresql import SecuredPostgresql
from standalone.backup.databases import dump
from standalone.backup.errors import BackupError
from standalone.backup.restore import restore

from .test_backup import millrace, unseen

pytestmark = pytest.mark.real


async def allocated(url: str) -> IdRange:
    """What id-service would take next."""
    engine = open_engine(DatabaseUrl.parse(url))
    try:
        tag = await CatalogStore(engine, SYSTEM_CLOCK).find(DEMO_TAG)
        allocator = SegmentAllocator(engine, datacenter_id=0, node_id="node", clock=SYSTEM_CLOCK)
        return await allocator.allocate(tag, 5_000)
    finally:
        await engine.dispose()


async def first_start(data: Path, auth: str, ids: str) -> Outcome:
    """What the first start of both services leaves, or a later one finds."""
    settings = AuthSettings.load(
        auth_database_url=DatabaseUrl.parse(auth), credentials_file=data / "credentials.json"
    )
    async with compose_auth(settings, clock=SYSTEM_CLOCK) as parts:
        credentials = read_credentials(data / "credentials.json")
        assert credentials is not None
        assert (await parts.verifier.check(credentials.user_key)).workspace == "demo"
        assert parts.bootstrap is not None
        outcome = parts.bootstrap.outcome
    await migrate(DatabaseUrl.parse(ids))
    engine = open_engine(DatabaseUrl.parse(ids))
    await seed_demo(CatalogStore(engine, SYSTEM_CLOCK))
    await engine.dispose()
    return outcome


def test_keys_work_and_no_id_is_issued_twice(tmp_path: Path, real_postgresql: PostgresqlServer) -> None:
    here, there = ({name: real_postgresql.new_database() for name in ("AUTH", "ID")} for _ in range(2))
    data = tmp_path / "data"
    (data / "metadata").mkdir(parents=True)
    (data / "metadata" / "version").write_text("1\n")
    assert asyncio.run(first_start(data, here["AUTH"], here["ID"])) is Outcome.CREATED
    asyncio.run(allocated(here["ID"]))

    urls = {f"{name}_DATABASE_URL": url for name, url in here.items()}
    done = millrace("backup", tmp_path / "one", "--data", data, **urls)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "one" / "databases" / "auth.dump").stat().st_mode & 0o777 == 0o600
    last = asyncio.run(allocated(here["ID"])).last

    new, files = tmp_path / "new", tmp_path / "files"
    parsed = {
        "here": {"auth": DatabaseUrl.parse(here["AUTH"]), "ids": DatabaseUrl.parse(here["ID"])},
        "there": {"auth": DatabaseUrl.parse(there["AUTH"]), "ids": DatabaseUrl.parse(there["ID"])},
    }
    with pytest.raises(BackupError, match="MILLRACE_ID_DATABASE_URL to empty databases"):
        restore(tmp_path / "one", new, {"auth": parsed["there"]["auth"]}, 20_000, unseen)
    with pytest.raises(BackupError, match="MILLRACE_AUTH_DATABASE_URL: this database has tables"):
        restore(tmp_path / "one", new, parsed["here"], 20_000, unseen)
    assert not new.exists()

    restore(tmp_path / "one", new, parsed["there"], 20_000, unseen)
    assert asyncio.run(first_start(new, there["AUTH"], there["ID"])) is Outcome.KEPT
    next_range = asyncio.run(allocated(there["ID"]))
    assert last < next_range.first < last + 20_000

    # Databases that have survived are left as they are.
    done = millrace("restore", tmp_path / "one", "--data", files, "--no-databases", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["databases"] == []
    assert asyncio.run(allocated(there["ID"])).first == next_range.last + 1


def test_a_server_that_asks_for_tls_and_a_password_is_dumped(
    tmp_path: Path, secured_postgresql: SecuredPostgresql
) -> None:
    at = DatabaseUrl.parse(secured_postgresql.url_for(OWNER))
    dump("auth", at, tmp_path / "auth.dump")
    assert (tmp_path / "auth.dump").read_bytes().startswith(b"PGDMP")
    wrong = DatabaseUrl.parse(secured_postgresql.url_for(Login(OWNER.name, "a-wrong-one")))
    with pytest.raises(BackupError, match="MILLRACE_AUTH_DATABASE_URL: pg_dump failed") as caught:
        dump("auth", wrong, tmp_path / "none.dump")
    assert "a-wrong-one" not in str(caught.value)
