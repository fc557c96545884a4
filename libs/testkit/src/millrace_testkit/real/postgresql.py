"""PostgreSQL, a cluster of its own; it refuses to run as root, so root runs it as the user `postgres`."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pwd
import shutil
import signal
import ssl
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from millrace_testkit.ports import free_port
from millrace_testkit.real import programs
from millrace_testkit.real.home import Home
from millrace_testkit.real.server import Server, ServerError

USER = "millrace"
_ANSWER_WITHIN_S = 2.0
_MADE_WITHIN_S = 60.0
_SETTINGS = {
    "unix_socket_directories": "",
    "dynamic_shared_memory_type": "mmap",  # nothing is left in /dev/shm by a kill
    "max_connections": "200",
    "timezone": "UTC",
}


class PostgresqlServer(Server):
    """Whoever connects from this host is let in as the superuser `millrace`, without TLS."""

    name = "postgresql"
    stop_signal = signal.SIGINT  # "fast": does not wait for clients to go
    _password: str | None = None
    end_signal = signal.SIGQUIT  # "immediate": ends its children and frees its shared memory, writes nothing

    def __init__(self, home: Home, ports: Callable[[], int] = free_port) -> None:
        super().__init__(home)
        self.port = ports()
        self._numbers = itertools.count(1)

    @property
    def url(self) -> str:
        """SQLAlchemy URL without a driver of the database `postgres`."""
        return self._url("postgres")

    def new_database(self) -> str:
        """URL of an empty database that no test was given before."""
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name}")
        return self._url(name)

    def database(self, name: str) -> str:
        """URL of the database of that name, which is made if it is not there."""
        import asyncpg

        with contextlib.suppress(asyncpg.DuplicateDatabaseError):
            self._execute(f"CREATE DATABASE {name}")
        return self._url(name)

    def _user(self) -> str | None:
        if os.geteuid() != 0:
            return None
        for name in ("postgres", "nobody"):
            try:
                return pwd.getpwnam(name).pw_name
            except KeyError:
                continue
        raise programs.BackendMissingError("PostgreSQL", "no user to run it as: it refuses root")

    def _url(self, database: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def _prepare(self) -> None:
        programs.postgresql_bin()
        self._directory.mkdir(mode=0o700)
        self._give(self._directory)
        password = self._directory / "password"
        password.touch(mode=0o600)
        password.write_text(self._password or "none")
        self._give(password)
        self._run(
            *("initdb", "-D", str(self._directory / "data"), "-U", USER, f"--pwfile={password}"),
            *("--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"),
            *([] if self._home.kept else ["--no-sync"]),
        )

    def _give(self, path: Path) -> None:
        """To the user as whom the server runs."""
        if (user := self._user()) is not None:
            shutil.chown(path, user)

    def _command(self) -> list[str]:
        return [
            *(str(programs.postgresql_bin() / "postgres"), "-D", str(self._directory / "data")),
            *(word for name, value in self._settings().items() for word in ("-c", f"{name}={value}")),
        ]

    def _settings(self) -> dict[str, str]:
        # A killed server finds what it wrote in the page cache: only a power cut would lose it.
        fsync = "on" if self._home.kept else "off"
        return _SETTINGS | {"listen_addresses": "127.0.0.1", "port": str(self.port), "fsync": fsync}

    def _client_tls(self) -> ssl.SSLContext | None:
        """How this class itself connects; None for no TLS."""
        return None

    def answers(self) -> bool:
        import asyncpg

        try:
            self._execute("SELECT 1", within_s=_ANSWER_WITHIN_S)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    def _execute(self, sql: str, within_s: float = _MADE_WITHIN_S) -> None:
        """Execute as the superuser, outside a transaction, in the database `postgres`."""
        # A loop of its own in a thread of its own: the caller may be inside one.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, self._executed(sql, within_s)).result()

    async def _executed(self, sql: str, within_s: float) -> None:
        import asyncpg

        async with asyncio.timeout(within_s):
            connection = await asyncpg.connect(
                host="127.0.0.1",
                port=self.port,
                user=USER,
                password=self._password,
                database="postgres",
                ssl=self._client_tls() or False,
            )
            try:
                await connection.execute(sql)
            finally:
                connection.terminate()

    def _run(self, program: str, *arguments: str) -> None:
        user = self._user()
        done = subprocess.run(
            [str(programs.postgresql_bin() / program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=_MADE_WITHIN_S,
            cwd=self._directory,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
        if done.returncode != 0:
            raise ServerError(f"{program} ended with {done.returncode}: {done.stderr.strip()}")
