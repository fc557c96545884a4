"""Settings that are missing or wrong are named, and secrets are not repeated."""

from pathlib import Path

import pytest

from auth_service.keys.text import new_key_text
from auth_service.settings import BootstrapSettings, ServerSettings
from millrace_runtime.settings import SettingsError

URL = "MILLRACE_AUTH_DATABASE_URL"
FILE = "MILLRACE_CREDENTIALS_FILE"
ADMIN = "IDGEN_ADMIN_API_KEY"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.setenv(URL, f"sqlite+aiosqlite:///{tmp_path}/auth.db")
    monkeypatch.setenv(FILE, f"{tmp_path}/credentials.json")
    return monkeypatch


def test_both_places_must_be_named_to_make_the_first_keys() -> None:
    with pytest.raises(SettingsError, match=f"(?s){URL} is not set.*{FILE} is not set"):
        BootstrapSettings.load()


def test_a_server_without_a_file_makes_no_keys_and_takes_none(environment: pytest.MonkeyPatch) -> None:
    environment.delenv(FILE)
    assert ServerSettings.load().credentials_file is None

    environment.setenv(ADMIN, new_key_text(None))
    with pytest.raises(SettingsError, match=f"{FILE}.*auth-service bootstrap"):
        ServerSettings.load()


@pytest.mark.usefixtures("environment")
def test_the_rest_has_defaults(tmp_path: Path) -> None:
    settings = ServerSettings.load()

    assert settings.auth_database_url.file == tmp_path / "auth.db"
    assert (settings.host, settings.port_offset, settings.log_level) == ("0.0.0.0", 0, "INFO")
    assert (settings.admin_key, settings.credentials_renew, settings.environment) == (
        None,
        False,
        "development",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (URL, "nonsense"),
        (URL, "sqlite:///auth.db"),
        (URL, "sqlite+aiosqlite://server/auth.db"),
        (URL, "sqlite+aiosqlite:///:memory:"),
        (URL, "sqlite+aiosqlite:///auth.db?mode=ro"),
        (URL, "postgresql+asyncpg://auth:hunter2@db"),
        (ADMIN, "hunter2"),
        pytest.param(ADMIN, new_key_text("demo"), id="a key of a workspace"),
        ("MILLRACE_CREDENTIALS_RENEW", "perhaps"),
        ("IDGEN_ENV", "moon"),
        ("MILLRACE_PORT_OFFSET", "-1"),
        ("MILLRACE_LOG_LEVEL", "LOUD"),
    ],
)
def test_what_is_wrong_is_named_and_not_repeated(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)

    with pytest.raises(SettingsError, match=f"^{name} is wrong") as refused:
        ServerSettings.load()
    assert value not in str(refused.value)


def test_the_admin_key_is_not_shown_by_the_settings(environment: pytest.MonkeyPatch) -> None:
    text = new_key_text(None)
    environment.setenv(ADMIN, text)

    settings = ServerSettings.load()
    assert text[-16:] not in repr(settings)
    assert settings.admin_key is not None
    assert settings.admin_key.get_secret_value() == text
