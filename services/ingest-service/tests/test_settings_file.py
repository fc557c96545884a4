"""Settings from a file: what it may say, and what wins over it."""

from pathlib import Path

import pytest

from ingest_service.settings_file import load_settings
from ingest_service.settings_webhook import WebhookSettings
from millrace_runtime.settings import SettingsError

PREFIXES = ("WEBHOOK_", "MILLRACE_WEBHOOK_", "MILLRACE_")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in WebhookSettings.names():
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "door.yaml"


def load(file: Path, **options: object) -> WebhookSettings:
    return load_settings(WebhookSettings, file, options=options, prefixes=PREFIXES)


@pytest.mark.parametrize("key", ["port", "PORT", "WEBHOOK_PORT", "webhook_port", "MILLRACE_WEBHOOK_PORT"])
def test_options_beat_the_environment_beats_the_file(
    file: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(f"bus: journal:/data\n{key}: 8001\nhealth_check_path: /up\nwebhook_path:\n")
    settings = load(file)
    assert (settings.webhook_port, settings.webhook_health_path) == (8001, "/up")
    assert settings.webhook_path == "/webhook/wechat"
    assert settings.data == Path("/data")
    monkeypatch.setenv("WEBHOOK_PORT", "8002")
    assert load(file).webhook_port == 8002
    assert load(file, webhook_port=8003).webhook_port == 8003


def test_an_empty_file_says_nothing(file: Path) -> None:
    file.write_text("# nothing yet\n")
    assert load(file, bus="journal:/data").webhook_port == 8000


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("prot: 1", "prot is not a setting (nearest known name: port)"),
        ("port: 8001\nWEBHOOK_PORT: 8002", "port and WEBHOOK_PORT are the same setting"),
        ("port: 0", "WEBHOOK_PORT is wrong"),
        ("port: 0", "as port of "),
        ("- port", "must be a mapping"),
        ("1: 2", "must be a mapping"),
        ("port: [", "line 2: not YAML"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(file: Path, text: str, problem: str) -> None:
    file.write_text(f"{text}\n")
    with pytest.raises(SettingsError) as refused:
        load(file, bus="journal:/data")
    assert problem in str(refused.value)
    assert str(file) in str(refused.value)


def test_a_file_that_cannot_be_read_is_named(file: Path) -> None:
    with pytest.raises(SettingsError, match=r"door\.yaml: cannot be read: No such file"):
        load(file)
    file.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match=r"door\.yaml: cannot be read: not UTF-8"):
        load(file)
