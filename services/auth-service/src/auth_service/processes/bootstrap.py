"""The first keys alone: `auth-service bootstrap` makes them, or finds them made, and ends.

For an installation whose servers have no file of their own to write keys to, because there are several or their
file systems go with them.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from auth_service.bootstrap.first_start import RENEW, BootstrapInfo, Outcome, bootstrap
from auth_service.database.engine import open_engine
from auth_service.database.migrate import SETTING, migrate
from auth_service.settings import BootstrapSettings
from millrace_runtime.clock import SYSTEM_CLOCK
from millrace_runtime.logs import configure_logging, get_logger
from millrace_runtime.process import CannotGoOnError, run
from millrace_runtime.settings import SettingsError, report_unknown
from millrace_runtime.startup import needing, run_when_there

log = get_logger(__name__)


async def make(stop: asyncio.Event) -> None:
    """Return when keys and file are in place; a database that is away is waited for.

    Raises:
        SettingsError: the file's keys do not work and may not be replaced, or as `bootstrap`.
        CannotGoOnError: a stop came first.
    """
    settings = BootstrapSettings.load()
    configure_logging("auth-service", settings.log_level)
    for message in report_unknown(os.environ, BootstrapSettings.names()):
        log.warning("unknown_setting", message=message)

    @asynccontextmanager
    async def made() -> AsyncIterator[BootstrapInfo]:
        await migrate(settings.auth_database_url)
        engine = open_engine(settings.auth_database_url)
        try:
            with needing(SETTING):
                first = await bootstrap(engine, settings, settings.credentials_file, clock=SYSTEM_CLOCK)
        finally:
            await engine.dispose()
        yield first

    if not await run_when_there(made, _require_working, stop):
        raise CannotGoOnError(f"stopped before the first keys were made: {SETTING} was not there")


async def _require_working(first: BootstrapInfo) -> None:
    if first.outcome is Outcome.STALE:
        raise SettingsError(
            "MILLRACE_CREDENTIALS_FILE: the database has other first keys than the file, or the file is missing;"
            f" put it back, or set {RENEW}=1 to replace the keys that do not work"
        )


def main() -> int:
    """The exit code of the process."""
    return run(make)


if __name__ == "__main__":
    sys.exit(main())
