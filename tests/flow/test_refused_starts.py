"""Processes at servers that refuse them, or on data of others: a clear end that names the setting, and no secret.

What each server may refuse is tried at the ports and at `millrace_relational`; this is what an operator sees of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from auth_service.settings import ServerSettings as AuthServer
from id_service.processes.server import ServerSettings as IdServer
from ingest_service.bus_settings import BusSettings
from ingest_service.coordination_settings import CoordinationSettings
from ingest_service.keep.settings import MaintenanceSettings
from ingest_service.land.settings import LakeWriterSettings
from ingest_service.settings_webhook import WebhookSettings
from millrace_runtime.settings import Settings, SettingsError
from millrace_testkit.builders import message
from millrace_testkit.load import OK, post_all
from millrace_testkit.real import RealStack
from millrace_testkit.real.postgresql import PostgresqlServer
from millrace_testkit.real.secured.credentials import LIMITED, WRONG
from millrace_testkit.real.secured.etcd import SecuredEtcd
from millrace_testkit.real.secured.kafka import SecuredKafka
from millrace_testkit.real.secured.postgresql import SecuredPostgresql
from millrace_testkit.real_mode import RealInstallation
from millrace_testkit.relational import new_schema
from millrace_testkit.stack import Process, Stack, wait_until
from query_service.settings import ServerSettings as QueryServer

EX_CONFIG = 78
WITHIN_S = 60.0


@pytest.fixture
def installation(tmp_path: Path, real_stack: RealStack) -> Iterator[RealInstallation]:
    """Nothing runs yet."""
    with Stack.real(tmp_path / "installation", real_stack) as stack:
        yield stack


def settings(variables: dict[str, str]) -> dict[str, str]:
    """As the stack takes them, without their prefix."""
    return {name.removeprefix("MILLRACE_"): value for name, value in variables.items()}


def require_ended(process: Process, *said: str) -> None:
    """It has ended for wrong settings and says this in what it prints; nothing of it is a traceback or a secret."""
    assert process.wait() == EX_CONFIG
    for text in said:
        assert text in process.log()
    require_discreet(process)


def require_discreet(process: Process) -> None:
    for text in ("Traceback", LIMITED.password, WRONG.password, "hunter2"):
        assert text not in process.log()


def says(process: Process, *texts: str) -> bool:
    """Whether it runs and its readiness names all of these."""
    assert process.alive, process.log()
    url = f"http://127.0.0.1:{process.endpoint.management_port}/ready"
    try:
        answer = httpx.get(url, trust_env=False, timeout=10)
    except httpx.TransportError:
        return False
    return answer.status_code == 503 and all(text in answer.text for text in texts)


@pytest.mark.real
def test_a_database_that_refuses_the_password_or_the_user(
    installation: RealInstallation, secured_postgresql: SecuredPostgresql
) -> None:
    wrong = installation.auth(AUTH_DATABASE_URL=secured_postgresql.url_for(WRONG))
    without_rights = installation.ids(ID_DATABASE_URL=secured_postgresql.url_for(LIMITED))

    require_ended(wrong, "MILLRACE_AUTH_DATABASE_URL: the server refuses user or password")
    require_ended(without_rights, "MILLRACE_ID_DATABASE_URL: ", "the user may not use")


@pytest.mark.real
async def test_a_database_with_half_of_the_schema_or_another_services(
    installation: RealInstallation, real_postgresql: PostgresqlServer
) -> None:
    half, others = [await new_schema(real_postgresql.url) for _ in range(2)]
    await execute(half, "CREATE TABLE workspaces (id int)")
    auth = installation.auth(AUTH_DATABASE_URL=others)
    await asyncio.to_thread(auth.wait_ready)
    halved = installation.auth(AUTH_DATABASE_URL=half)
    stranger = installation.ids(ID_DATABASE_URL=others)

    for process, *said in (
        (halved, "MILLRACE_AUTH_DATABASE_URL: ", "half of a restore"),
        (stranger, "MILLRACE_ID_DATABASE_URL: ", "another service"),
    ):
        await asyncio.to_thread(require_ended, process, *said)
    assert auth.ready()


async def execute(url: str, statement: str) -> None:
    place, _, schema = url.partition("?options=-csearch_path%3D")
    connection = await asyncpg.connect(place, server_settings={"search_path": schema})
    await connection.execute(statement)
    await connection.close()


@pytest.mark.real
@pytest.mark.slow
def test_servers_of_the_way_of_a_message_that_refuse(
    installation: RealInstallation, secured_kafka: SecuredKafka, secured_etcd: SecuredEtcd
) -> None:
    """The lake writer ends; relay and keeper go on trying, since rights may be given, and say what is missing."""
    door = installation.door()
    wrong = settings(secured_kafka.settings(login=WRONG))
    writer, relay = installation.lake_writer(**wrong), installation.relay(**wrong)
    keepers = [
        installation.maintenance(**settings(secured_etcd.settings(login))) for login in (WRONG, LIMITED)
    ]
    posted = asyncio.run(post_all(door.wait_ready().endpoint.http_port, [message("1")]))

    assert posted == [OK]
    require_ended(writer, "MILLRACE_KAFKA_SASL_USERNAME, _PASSWORD or _MECHANISM")
    for process, setting in (
        (relay, "MILLRACE_KAFKA_SASL_USERNAME, _PASSWORD or _MECHANISM"),
        (keepers[0], "MILLRACE_ETCD_USERNAME and MILLRACE_ETCD_PASSWORD"),
        (keepers[1], "MILLRACE_ETCD_USERNAME: the user"),
    ):
        wait_until(partial(says, process, setting), WITHIN_S, f"{process.name} names {setting}")
        require_discreet(process)
    assert door.ready()


def _read(_loaded: Settings) -> object:
    return None


def _bus(loaded: BusSettings) -> object:
    return loaded.open_bus(now_ms=lambda: 0)


def _coordination(loaded: CoordinationSettings) -> object:
    return loaded.open_coordination(boottime=lambda: 0.0)


@pytest.mark.parametrize(
    ("kind", "given", "setting", "then"),
    [
        (AuthServer, {"auth_database_url": "postgresql://u:hunter2@h:port/d"}, "AUTH_DATABASE_URL", _read),
        (IdServer, {"id_database_url": "postgresql://u:hunter2@/d"}, "ID_DATABASE_URL", _read),
        (IdServer, {"auth_url": "https://u:hunter2@h:1"}, "AUTH_URL", _read),
        (QueryServer, {"lake": "s3://hunter2@bucket"}, "LAKE", _read),
        (WebhookSettings, {"bus": "kafka://u:hunter2@h:1"}, "BUS", _read),
        (LakeWriterSettings, {"bus": "kafka://u:hunter2@h:1"}, "BUS", _bus),
        (MaintenanceSettings, {"coordination": "etcd://u:hunter2@h:1"}, "COORDINATION", _coordination),
    ],
)
async def test_a_malformed_url_is_named_and_not_repeated(
    kind: type[Settings],
    given: dict[str, str],
    setting: str,
    then: Callable[[Any], object],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name in kind.names():
        monkeypatch.delenv(name, raising=False)
    others = {"data": tmp_path} if "data" in kind.model_fields else {}
    with pytest.raises(SettingsError, match=f"(?m)^MILLRACE_{setting}") as refused:
        then(kind.load(**others, **given))
    assert "hunter2" not in str(refused.value)
