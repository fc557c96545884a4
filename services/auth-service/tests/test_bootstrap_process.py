"""`auth-service bootstrap`, as a Job or a unit runs it: the first keys, then the end."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

import pytest

from auth_service.bootstrap.credentials import read_credentials
from auth_service.compose import AuthParts
from millrace_relational import DatabaseUrl
from millrace_testkit.proxy import Proxy
from millrace_testkit.real.postgresql import PostgresqlServer
from millrace_testkit.relational import new_schema

from .conftest import text_of

Start = Callable[..., AbstractAsyncContextManager[AuthParts]]

WITHIN_S = 60


async def test_its_keys_work_at_a_server_that_makes_none(start: Start, url: DatabaseUrl, data: Path) -> None:
    assert _bootstrap(url, data).returncode == 0
    credentials = read_credentials(data / "credentials.json")
    assert credentials is not None

    async with start(credentials_file=None) as parts:
        assert parts.bootstrap is None
        assert (await parts.verifier.check(credentials.user_key)).workspace == credentials.workspace
        assert (await parts.verifier.check(credentials.admin_key)).workspace is None


def test_again_it_changes_nothing(url: DatabaseUrl, data: Path) -> None:
    assert _bootstrap(url, data).returncode == 0
    first = read_credentials(data / "credentials.json")

    assert _bootstrap(url, data).returncode == 0
    assert read_credentials(data / "credentials.json") == first


def test_a_lost_file_is_an_error_until_renewal_is_asked_for(url: DatabaseUrl, data: Path) -> None:
    assert _bootstrap(url, data).returncode == 0
    (data / "credentials.json").unlink()

    refused = _bootstrap(url, data)
    assert refused.returncode == 78
    assert "MILLRACE_CREDENTIALS_FILE: " in refused.stderr
    assert not (data / "credentials.json").exists()

    assert _bootstrap(url, data, MILLRACE_CREDENTIALS_RENEW="1").returncode == 0
    assert read_credentials(data / "credentials.json") is not None


@pytest.fixture
async def away(real_postgresql: PostgresqlServer) -> AsyncIterator[tuple[Proxy, str]]:
    """A wire to an empty schema that is cut, and the URL by it."""
    with Proxy(real_postgresql.port) as wire:
        wire.cut()
        schema = await new_schema(real_postgresql.url)
        yield wire, schema.replace(f":{real_postgresql.port}/", f":{wire.port}/")


@pytest.mark.real
def test_a_database_that_is_away_is_waited_for(away: tuple[Proxy, str], data: Path) -> None:
    wire, url = away
    with _started(url, data) as process:
        assert "MILLRACE_AUTH_DATABASE_URL: the server cannot be reached" in _line(process, "start_waits")
        wire.restore()
        assert process.wait(WITHIN_S) == 0
    assert read_credentials(data / "credentials.json") is not None


@pytest.mark.real
def test_a_stop_before_the_keys_are_made_is_no_success(away: tuple[Proxy, str], data: Path) -> None:
    _, url = away
    with _started(url, data) as process:
        _line(process, "start_waits")
        process.terminate()
        said = process.communicate(timeout=WITHIN_S)[1]
    assert process.returncode == 1
    assert "stopped before the first keys were made: MILLRACE_AUTH_DATABASE_URL" in said
    assert not (data / "credentials.json").exists()


COMMAND = [sys.executable, "-m", "auth_service.processes.bootstrap"]


def _environment(url: str, data: Path) -> dict[str, str]:
    return {
        **os.environ,
        "MILLRACE_AUTH_DATABASE_URL": url,
        "MILLRACE_CREDENTIALS_FILE": f"{data}/credentials.json",
    }


def _bootstrap(url: DatabaseUrl, data: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = _environment(text_of(url), data) | more
    return subprocess.run(
        COMMAND, env=environment, capture_output=True, text=True, check=False, timeout=WITHIN_S
    )


@contextmanager
def _started(url: str, data: Path) -> Iterator[subprocess.Popen[str]]:
    environment = _environment(url, data)
    with subprocess.Popen(COMMAND, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _line(process: subprocess.Popen[str], event: str) -> str:
    """The next line of its log with this event."""
    assert process.stderr is not None
    for line in process.stderr:
        if event in line:
            return line
    raise AssertionError(f"it ended without {event}")
