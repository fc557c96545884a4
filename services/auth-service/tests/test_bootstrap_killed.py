"""The first start and a renewal, killed at every named moment: the next start gives working keys."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from auth_service.bootstrap.credentials import read_credentials
from auth_service.compose import AuthParts
from millrace_relational import DatabaseUrl

from .conftest import directories, text_of

pytestmark = pytest.mark.faults

MOMENTS = [
    "BEFORE_CREDENTIALS_FILE",
    "AFTER_CREDENTIALS_TEMPORARY_BEFORE_RENAME",
    "AFTER_CREDENTIALS_FILE_BEFORE_COMMIT",
    "AFTER_BOOTSTRAP_COMMIT",
]

ONE_START = """
import asyncio
from auth_service.compose import compose
from auth_service.settings import AuthSettings
from millrace_testkit.clock import ManualClock

async def main():
    async with compose(AuthSettings.load(), clock=ManualClock()):
        pass

asyncio.run(main())
"""

Start = Callable[..., AbstractAsyncContextManager[AuthParts]]


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_killed_first_start(start: Start, url: DatabaseUrl, data: Path, moment: str) -> None:
    _killed_start(url, data, moment)

    async with start() as parts:
        await _require_working(parts, data)
    _require_nothing_left(url, data)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_killed_renewal(start: Start, url: DatabaseUrl, data: Path, moment: str) -> None:
    async with start():
        (data / "credentials.json").unlink()
    _killed_start(url, data, moment, MILLRACE_CREDENTIALS_RENEW="1")

    async with start(credentials_renew=True) as parts:
        await _require_working(parts, data)
    _require_nothing_left(url, data)


def _killed_start(url: DatabaseUrl, data: Path, moment: str, **more: str) -> None:
    environment = {
        **os.environ,
        "MILLRACE_AUTH_DATABASE_URL": text_of(url),
        "MILLRACE_CREDENTIALS_FILE": f"{data}/credentials.json",
        "MILLRACE_CRASH_AT": moment,
        **more,
    }
    ended = subprocess.run([sys.executable, "-c", ONE_START], env=environment, check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL


async def _require_working(parts: AuthParts, data: Path) -> None:
    kept = read_credentials(data / "credentials.json")
    assert kept is not None
    assert (await parts.verifier.check(kept.user_key)).workspace == "demo"
    assert (await parts.verifier.check(kept.admin_key)).role == "admin"


def _require_nothing_left(url: DatabaseUrl, data: Path) -> None:
    """The temporary file of the killed start is gone with the next write."""
    assert {entry.name for entry in data.iterdir()} == {"credentials.json"} | directories(url)
