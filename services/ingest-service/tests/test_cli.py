"""The service's own command line: every process by its name, every setting with its meaning."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ingest_service.cli import COMMANDS
from millrace_runtime.settings import Settings

PROCESSES = {"webhook", "relay", "lake-writer", "maintenance"}


def attribute(name: str) -> object:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def call(*argv: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """`ingest-service ARGV` as installed, with these settings alone."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("ingest-service")), *argv],
        env={"PATH": os.environ["PATH"], **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_commands_are_the_processes_serve_and_replay() -> None:
    assert {command.name for command in COMMANDS} == PROCESSES | {"serve", "replay"}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command.name))
def test_every_command_can_be_loaded_and_explains_its_settings(command: object) -> None:
    from millrace_runtime.commands import Command

    assert isinstance(command, Command)
    assert callable(attribute(command.main))
    settings = attribute(command.settings)
    assert isinstance(settings, type)
    assert issubclass(settings, Settings)
    assert [row.name for row in settings.table() if not row.meaning] == []


def test_a_missing_setting_ends_a_process_with_78_and_its_name() -> None:
    ended = call("relay")
    assert ended.returncode == 78
    assert "MILLRACE_OBJECTS is not set" in ended.stderr


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("MILLRACE_BUS", "journal:/var/lib/millrace"),
        ("MILLRACE_BUS", "kafka://user:hidden@kafka:9092"),
        ("MILLRACE_BUS", "redis://kafka:9092"),
        ("MILLRACE_OBJECTS", "/var/lib/objects"),
        ("MILLRACE_OBJECTS", "s3://hidden@bucket"),
        ("MILLRACE_KAFKA_SECURITY_PROTOCOL", "TLS"),
        ("MILLRACE_KAFKA_SASL_PASSWORD", "hidden"),
        ("MILLRACE_RELAY_MAX_RECORDS", "0"),
    ],
)
def test_a_wrong_setting_is_named_and_not_repeated(tmp_path: Path, setting: str, value: str) -> None:
    settings = {
        "MILLRACE_DATA": str(tmp_path),
        "MILLRACE_BUS": "kafka://127.0.0.1:1",
        "MILLRACE_OBJECTS": f"file://{tmp_path}",
    }
    ended = call("relay", **(settings | {setting: value}))
    assert ended.returncode == 78
    assert setting in ended.stderr
    assert "hidden" not in ended.stderr


def test_help_of_replay_shows_range_and_settings() -> None:
    shown = call("replay", "--help").stdout
    assert "--from YYYY-MM-DD[:LINE]" in shown
    assert "MILLRACE_BUS" in shown
