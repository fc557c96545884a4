"""What a database URL may say, and that nothing of it is repeated."""

from pathlib import Path

import pytest

from millrace_relational.url import DatabaseSetting, DatabaseUrl
from millrace_runtime.settings import Settings, SettingsError


class _Settings(Settings):
    things_database_url: DatabaseSetting


def test_an_sqlite_file() -> None:
    assert DatabaseUrl.parse("sqlite+aiosqlite:////var/lib/things.db").file == Path("/var/lib/things.db")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_a_server_as_managed_services_write_it(scheme: str) -> None:
    found = DatabaseUrl.parse(f"{scheme}://u%40corp:p%2Fw%3F@db.example:6432/things?sslmode=require")

    assert found.file is None
    assert found.url.drivername == "postgresql+asyncpg"
    assert (found.url.username, found.url.password) == ("u@corp", "p/w?")
    assert (found.url.host, found.url.port, found.url.database) == ("db.example", 6432, "things")
    assert found.parameters == {"sslmode": "require"}


def test_every_known_parameter() -> None:
    text = (
        "postgresql://u@h/d?sslmode=verify-full&sslrootcert=/ca.pem&sslcert=/c.pem&sslkey=/k.pem"
        "&application_name=me&connect_timeout=10&options=-csearch_path%3Dids&target_session_attrs=read-write"
        "&channel_binding=prefer"
    )
    assert DatabaseUrl.parse(text).parameters["options"] == "-csearch_path=ids"


def test_a_socket_of_this_host() -> None:
    assert DatabaseUrl.parse("postgresql://u@/d?host=/run/postgresql").parameters["host"] == "/run/postgresql"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not set"),
        ("hunter2", "not a database URL"),
        ("postgresql://u:hunter2@h:port/d", "not a database URL"),
        ("mysql://u:hunter2@h/d", "scheme"),
        ("postgresql+psycopg://u:hunter2@h/d", "scheme"),
        ("sqlite:///hunter2.db", "scheme"),
        ("sqlite+aiosqlite://", "must name a file"),
        ("sqlite+aiosqlite:///:memory:", "must name a file"),
        ("sqlite+aiosqlite:///hunter2.db?mode=ro", "must name a file"),
        ("postgresql://u:hunter2@h", "user, host and database"),
        ("postgresql://h/hunter2", "user, host and database"),
        ("postgresql://u:hunter2@/d", "user, host and database"),
        ("postgresql://u:hunter2@h,i/d", "one host"),
        ("postgresql://u:hunter2@h/d?host=i", "parameter host"),
        ("postgresql://u:hunter2@h/d?sslmode=strict", "parameter sslmode"),
        ("postgresql://u:hunter2@h/d?sslmode=require&sslmode=disable", "parameter sslmode.*once"),
        ("postgresql://u:hunter2@h/d?sslmode=verify-ca", "needs sslrootcert"),
        ("postgresql://u:hunter2@h/d?sslmode=verify-ca&sslrootcert=system", "needs sslmode=verify-full"),
        ("postgresql://u:hunter2@h/d?sslrootcert=/hunter2.pem", "no effect without sslmode"),
        ("postgresql://u:hunter2@h/d?sslmode=require&sslcert=/hunter2.pem", "sslcert and sslkey"),
        ("postgresql://u:hunter2@h/d?channel_binding=require", "channel_binding=require"),
        ("postgresql://u:hunter2@h/d?connect_timeout=0", "connect_timeout"),
        ("postgresql://u:hunter2@h/d?connect_timeout=99999999999", "connect_timeout"),
        ("postgresql://u@h/d?password=hunter2", "parameter password is not known"),
        ("postgresql://u@h/d?hunter2-x=1", "parameter .unreadable. is not known"),
    ],
)
def test_what_cannot_be_used_is_named_by_its_setting_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    monkeypatch.setenv("MILLRACE_THINGS_DATABASE_URL", text)

    with pytest.raises(SettingsError, match=f"^MILLRACE_THINGS_DATABASE_URL is .*{why}") as refused:
        _Settings.load()
    assert "hunter2" not in str(refused.value)


def test_the_password_is_not_shown() -> None:
    settings = _Settings.load(things_database_url="postgresql://u:hunter2@h/d?application_name=hunter2")

    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings.things_database_url)
