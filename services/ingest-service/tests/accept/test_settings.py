"""Settings of the door: what is missing or wrong is named."""

from pathlib import Path
from typing import Any

import pytest

from ingest_service.settings_webhook import WebhookSettings
from millrace_runtime.settings import SettingsError, report_unknown


@pytest.fixture
def environ(open_door: Any, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("MILLRACE_BUS", "journal:/var/lib/millrace")
    return monkeypatch


def test_defaults_are_those_of_the_sheet(environ: pytest.MonkeyPatch) -> None:
    settings = WebhookSettings.load()
    assert (settings.webhook_host, settings.webhook_port) == ("0.0.0.0", 8000)
    assert (settings.webhook_grpc_port, settings.webhook_management_port) == (50052, 9092)
    assert (settings.webhook_path, settings.webhook_health_path) == ("/webhook/wechat", "/health")
    assert (settings.webhook_log_max_size_mb, settings.webhook_log_backup_count) == (100, 10)
    assert (settings.webhook_service_version, settings.max_body_bytes) == ("1.0.0", None)
    assert settings.data == Path("/var/lib/millrace")
    assert settings.log_file == Path("/var/lib/millrace/logs/wechat_webhook.log")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MILLRACE_BUS", "kafka://h:9092"),
        ("MILLRACE_BUS", "journal:relative"),
        ("MILLRACE_WEBHOOK_PORT", "0"),
        ("MILLRACE_WEBHOOK_PORT", "65536"),
        ("MILLRACE_WEBHOOK_PORT", "http"),
        ("MILLRACE_WEBHOOK_PATH", "webhook"),
        ("MILLRACE_WEBHOOK_LOG_LEVEL", "LOUD"),
        ("MILLRACE_WEBHOOK_LOG_FILE", "../x.log"),
        ("MILLRACE_WEBHOOK_LOG_MAX_SIZE_MB", "0"),
        ("MILLRACE_WEBHOOK_LOG_BACKUP_COUNT", "-1"),
        ("MILLRACE_WEBHOOK_MAX_BODY_MB", "0"),
    ],
)
def test_a_wrong_value_is_named(environ: pytest.MonkeyPatch, name: str, value: str) -> None:
    environ.setenv(name, value)
    with pytest.raises(SettingsError, match=rf"{name}( or \w+)? is wrong"):
        WebhookSettings.load()


SHEET = {
    "WEBHOOK_HOST": ("webhook_host", "127.0.0.1", "127.0.0.1"),
    "WEBHOOK_PORT": ("webhook_port", "8123", 8123),
    "WEBHOOK_WEBHOOK_PATH": ("webhook_path", "/in", "/in"),
    "WEBHOOK_HEALTH_CHECK_PATH": ("webhook_health_path", "/up", "/up"),
    "WEBHOOK_LOG_FILE": ("webhook_log_file", "/var/log/door.log", Path("/var/log/door.log")),
    "WEBHOOK_LOG_LEVEL": ("webhook_log_level", "debug", "DEBUG"),
    "WEBHOOK_LOG_MAX_SIZE_MB": ("webhook_log_max_size_mb", "7", 7),
    "WEBHOOK_LOG_BACKUP_COUNT": ("webhook_log_backup_count", "0", 0),
    "WEBHOOK_SERVICE_NAME": ("webhook_service_name", "door-a", "door-a"),
    "WEBHOOK_SERVICE_VERSION": ("webhook_service_version", "2.0.0", "2.0.0"),
    "WEBHOOK_MAX_BODY_MB": ("webhook_max_body_mb", "1.5", 1.5),
}


@pytest.mark.parametrize("name", SHEET)
def test_the_names_of_the_sheet_are_read_and_ours_win(environ: pytest.MonkeyPatch, name: str) -> None:
    """LAKE 2.1, the table of settings."""
    field, text, value = SHEET[name]
    default = getattr(WebhookSettings.load(), field)
    environ.setenv(name, text)
    assert getattr(WebhookSettings.load(), field) == value != default
    (ours, sheet) = WebhookSettings.variables(field)
    assert sheet == name
    if field not in ("webhook_path", "webhook_health_path"):
        environ.setenv(ours, str(default) if default is not None else "3")
        assert getattr(WebhookSettings.load(), field) != value


@pytest.mark.parametrize("name", ["WEBHOOK_PORT", "WEBHOOK_LOG_MAX_SIZE_MB", "WEBHOOK_HEALTH_CHECK_PATH"])
def test_a_wrong_value_by_a_name_of_the_sheet_is_named(environ: pytest.MonkeyPatch, name: str) -> None:
    environ.setenv(name, "-1")
    with pytest.raises(SettingsError, match=f"or {name} is wrong"):
        WebhookSettings.load()


def test_a_misspelt_name_of_the_sheet_is_an_error() -> None:
    with pytest.raises(SettingsError, match="did you mean WEBHOOK_PORT"):
        report_unknown({"WEBHOOK_PROT": "1"}, WebhookSettings.names(), ("MILLRACE_", "WEBHOOK_"))


def test_a_log_file_that_is_not_absolute_lies_below_the_data(environ: pytest.MonkeyPatch) -> None:
    """LAKE-2: nothing depends on the working directory."""
    environ.setenv("WEBHOOK_LOG_FILE", "logs/door.log")
    assert WebhookSettings.load().log_file == Path("/var/lib/millrace/logs/door.log")


def test_a_missing_bus_is_named(environ: pytest.MonkeyPatch) -> None:
    environ.delenv("MILLRACE_BUS")
    with pytest.raises(SettingsError, match=r"MILLRACE_BUS is not set.*journal:PATH"):
        WebhookSettings.load()


def test_two_routes_cannot_share_a_path(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("MILLRACE_WEBHOOK_PATH", "/health")
    with pytest.raises(SettingsError, match="MILLRACE_WEBHOOK_PATH and MILLRACE_WEBHOOK_HEALTH_PATH"):
        WebhookSettings.load()


def test_a_misspelt_name_is_an_error(environ: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="did you mean MILLRACE_WEBHOOK_PORT"):
        report_unknown({"MILLRACE_WEBHOOK_PROT": "1"}, WebhookSettings.names())


def test_production_is_told_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDGEN_ENV", "production")
    assert WebhookSettings.load(bus="journal:/var/lib/millrace").environment == "production"
