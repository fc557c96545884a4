"""The setting that names a database.

    sqlite+aiosqlite:///PATH                                          a file
    postgresql://user:password@host[:port]/database[?parameters]      a server, as managed services write it

`postgres://` and `postgresql+asyncpg://` mean the same. What the URL does not say is not looked for elsewhere:
no PG* variable, no ~/.pgpass.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Self

from pydantic import PlainValidator
from pydantic_settings import NoDecode
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

FORMS: Final = "sqlite+aiosqlite:///PATH or postgresql://USER:PASSWORD@HOST[:PORT]/DATABASE"

_SQLITE: Final = "sqlite+aiosqlite"
_POSTGRESQL: Final = "postgresql+asyncpg"
_POSTGRESQL_NAMES: Final = ("postgresql", "postgres", _POSTGRESQL)

SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "sslmode": SSL_MODES,
    "target_session_attrs": ("any", "read-write", "primary"),
    "channel_binding": ("disable", "prefer"),
}
_FREE: Final = ("sslrootcert", "sslcert", "sslkey", "host", "application_name", "options", "connect_timeout")
_SYSTEM_STORE: Final = "system"
_LONGEST_CONNECT_S: Final = 60


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """A URL that was checked. Its repr shows neither the password nor the parameters.

    `url` has the driver in its scheme and no query; `parameters` is the query of a PostgreSQL URL by libpq's
    names, each known and well-formed.
    """

    url: URL
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    @classmethod
    def parse(cls, text: object) -> Self:
        """The URL in `text`.

        Raises:
            ValueError: it cannot be used; the message repeats nothing of it but names of parameters.
        """
        if isinstance(text, cls):
            return text
        try:
            url = make_url(str(text))
        except (ArgumentError, ValueError):
            raise ValueError(f"not a database URL; write {FORMS}") from None
        if url.drivername == _SQLITE:
            return cls(_sqlite_file(url))
        if url.drivername in _POSTGRESQL_NAMES:
            return cls(*_postgresql_server(url))
        raise ValueError(f"the scheme must be {_SQLITE} or postgresql")

    @property
    def file(self) -> Path | None:
        """The SQLite file; None for a server."""
        return Path(self.url.database or "") if self.url.drivername == _SQLITE else None


DatabaseSetting = Annotated[DatabaseUrl, NoDecode, PlainValidator(DatabaseUrl.parse)]
"""The type of a field of `Settings` that holds a database's URL."""


def _sqlite_file(url: URL) -> URL:
    """Rows must outlive the process, so no database in memory."""
    if url.host or not url.database or url.database == ":memory:" or url.query:
        raise ValueError(f"must name a file and nothing else: {_SQLITE}:///PATH")
    return url


def _postgresql_server(url: URL) -> tuple[URL, Mapping[str, str]]:
    parameters = {name: _checked(name, value) for name, value in url.query.items()}
    socket_directory = parameters.get("host")
    if not (url.host or socket_directory) or not url.username or not url.database:
        raise ValueError("must name user, host and database: postgresql://USER:PASSWORD@HOST/DATABASE")
    if "," in (url.host or ""):
        raise ValueError("must name one host; a name or address that follows the primary")
    if socket_directory is not None and (url.host or not socket_directory.startswith("/")):
        raise ValueError("parameter host: only a directory with the server's socket, and no other host")
    if ("sslcert" in parameters) != ("sslkey" in parameters):
        raise ValueError("parameters sslcert and sslkey: one does not work without the other")
    _require_root_certificate(parameters)
    return url.set(drivername=_POSTGRESQL, query={}), MappingProxyType(parameters)


def _require_root_certificate(parameters: Mapping[str, str]) -> None:
    """A root certificate that nothing is checked against, or a check against everybody's, is a mistake."""
    mode, root = parameters.get("sslmode", "prefer"), parameters.get("sslrootcert")
    if root is not None and SSL_MODES.index(mode) < SSL_MODES.index("require"):
        raise ValueError("parameter sslrootcert: has no effect without sslmode=verify-full or verify-ca")
    if mode != "verify-full" and root == _SYSTEM_STORE:
        raise ValueError("parameter sslrootcert=system: needs sslmode=verify-full")
    if mode == "verify-ca" and root is None:
        raise ValueError("parameter sslmode=verify-ca: needs sslrootcert")


def _checked(name: str, value: str | tuple[str, ...]) -> str:
    if name not in _CHOICES and name not in _FREE:
        known = ", ".join(sorted((*_CHOICES, *_FREE)))
        raise ValueError(f"parameter {_shown(name)} is not known; known are {known}")
    if not isinstance(value, str) or not value:
        raise ValueError(f"parameter {name}: must be given once, with a value")
    if name == "channel_binding" and value == "require":
        raise ValueError("parameter channel_binding=require: not offered; use sslmode=verify-full instead")
    if name in _CHOICES and value not in _CHOICES[name]:
        raise ValueError(f"parameter {name}: must be one of {', '.join(_CHOICES[name])}")
    if name == "connect_timeout" and not (value.isdecimal() and 1 <= int(value[:9]) <= _LONGEST_CONNECT_S):
        raise ValueError(f"parameter {name}: must be 1 to {_LONGEST_CONNECT_S} seconds")
    return value


def _shown(name: str) -> str:
    """A parameter's name, unless it may be part of a password with a bare `?` in it."""
    return name if name.isidentifier() and len(name) <= 32 else "(unreadable)"
