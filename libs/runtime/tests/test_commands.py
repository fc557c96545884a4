"""Commands by name, their help with the settings, and nothing imported before it is needed."""

import argparse
import sys
from pathlib import Path

import pytest
from pydantic import Field, SecretStr

from millrace_runtime.commands import Command, run_command, settings_table
from millrace_runtime.settings import Settings

HERE = f"{__name__}"


class SomeSettings(Settings):
    """Of a command."""

    depth: int = Field(
        3, description="how deep, in a sentence that is long enough to need more than one line of it"
    )
    place: Path = Field(description="where")
    secret: SecretStr | None = Field(SecretStr("hidden"), description="never shown")
    eager: bool = Field(False, description="whether")
    hint: str | None = Field(None, description="if any")


def serve() -> int:
    return 7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--times", type=int, default=1)


def repeat(arguments: argparse.Namespace) -> int:
    return int(arguments.times)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, HERE, sys.modules[__name__])


COMMANDS = (
    Command("serve", "serves", f"{HERE}:serve", f"{HERE}:SomeSettings"),
    Command("repeat", "repeats", f"{HERE}:repeat", f"{HERE}:SomeSettings", f"{HERE}:add_arguments"),
    Command("absent", "cannot be imported", "no_such_module:main", "no_such_module:Settings"),
)


def run(*argv: str) -> int:
    return run_command("some-service", "Some service.", COMMANDS, argv)


def test_a_command_gives_the_exit_code() -> None:
    assert run("serve") == 7


def test_a_command_may_have_arguments() -> None:
    assert run("repeat") == 1
    assert run("repeat", "--times", "4") == 4


@pytest.mark.parametrize("argv", [(), ("unknown",), ("serve", "--times", "4"), ("repeat", "--times", "x")])
def test_wrong_usage_is_2(argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*argv)
    assert ended.value.code == 2
    assert "usage: some-service" in capsys.readouterr().err


def test_help_names_every_command_and_imports_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("--help")
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for command in COMMANDS:
        assert command.name in shown
        assert command.summary in shown


def test_help_of_a_command_shows_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("repeat", "--help")
    shown = capsys.readouterr().out
    assert "--times" in shown
    assert "MILLRACE_DEPTH" in shown


def test_the_table_has_required_settings_first_and_no_secret() -> None:
    table = settings_table(f"{HERE}:SomeSettings", 80)
    lines = table.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["variable", "MILLRACE_PLACE", "MILLRACE_DEPTH"]
    assert lines[1].split()[1:] == ["required", "where"]
    assert "hidden" not in table
    assert [line.split()[1] for line in lines if "MILLRACE_EAGER" in line or "MILLRACE_HINT" in line] == [
        "0",
        "none",
    ]
    assert max(map(len, lines)) <= 80
