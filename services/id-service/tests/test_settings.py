"""Settings of the service and its process."""

from pathlib import Path

import pytest

from id_service.processes.server import ServerSettings
from id_service.settings import IdSettings
from millrace_runtime.peers import Peer
from millrace_runtime.settings import SettingsError

URL = "sqlite+aiosqlite:////tmp/ids.db"


def test_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_ID_DATABASE_URL", URL)
    settings = IdSettings.load()
    assert settings.id_database_url.file == Path("/tmp/ids.db")
    assert (settings.id_seed_demo, settings.id_batch_max_size) == (False, 100)


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "MILLRACE_ID_DATABASE_URL": URL,
        "MILLRACE_ID_SEED_DEMO": "1",
        "MILLRACE_ID_BATCH_MAX_SIZE": "10000",
        "MILLRACE_AUTH_URL": "auth:50054",
        "MILLRACE_PORT_OFFSET": "100",
        "IDGEN_ENV": "production",
    }.items():
        monkeypatch.setenv(name, value)
    settings = ServerSettings.load()
    assert settings.id_seed_demo
    assert settings.id_batch_max_size == 10_000
    assert (settings.auth_url, settings.port_offset) == (Peer("auth:50054"), 100)
    assert settings.environment == "production"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MILLRACE_ID_DATABASE_URL", ""),
        ("MILLRACE_ID_DATABASE_URL", "no url"),
        ("MILLRACE_ID_DATABASE_URL", "sqlite+aiosqlite://"),
        ("MILLRACE_ID_DATABASE_URL", "sqlite+aiosqlite:///:memory:"),
        ("MILLRACE_ID_DATABASE_URL", "sqlite:////tmp/ids.db"),
        ("MILLRACE_ID_DATABASE_URL", "postgresql://u:secret@h"),
        ("MILLRACE_ID_DATABASE_URL", URL + "?mode=ro"),
        ("MILLRACE_ID_SEED_DEMO", "perhaps"),
        ("MILLRACE_ID_BATCH_MAX_SIZE", "0"),
        ("MILLRACE_ID_BATCH_MAX_SIZE", "10001"),
        ("MILLRACE_ID_BATCH_MAX_SIZE", "many"),
        ("MILLRACE_AUTH_URL", ""),
        ("MILLRACE_AUTH_URL", "ftp://auth:50054"),
        ("MILLRACE_AUTH_URL", "auth"),
        ("MILLRACE_PORT_OFFSET", "-1"),
        ("MILLRACE_LOG_LEVEL", "LOUD"),
        ("IDGEN_ENV", "prod"),
    ],
)
def test_a_wrong_value_names_its_variable_and_not_itself(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("MILLRACE_ID_DATABASE_URL", URL)
    monkeypatch.setenv("MILLRACE_AUTH_URL", "auth:50054")
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=rf"^{name} is ") as refused:
        ServerSettings.load()
    assert "secret" not in str(refused.value)
