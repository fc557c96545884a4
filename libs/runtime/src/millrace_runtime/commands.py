"""The command line of a service: one command per process, each with the settings that it reads.

Nothing of a command is imported before it is asked for, so that `--help` is quick and a process pays for no other.
"""

import argparse
import importlib
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_NAME_WIDTH = 34
_LEAST_WIDTH = 80
_MOST_WIDTH = 140


@dataclass(frozen=True, slots=True)
class Command:
    """`name` as on the command line. `main`, `settings` and `arguments` are `module:attribute`.

    `main` takes nothing and gives the exit code; with `arguments`, which adds its options to a parser, it takes
    the parsed ones. `settings` is the class of the settings that it reads.
    """

    name: str
    summary: str
    main: str
    settings: str
    arguments: str | None = None


def run_command(
    service: str, summary: str, commands: Sequence[Command], argv: Sequence[str] | None = None
) -> int:
    """Run the command that `argv` (the process's by default) names; its exit code, 2 for wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog=service,
        description=summary,
        epilog=_overview(service, commands),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", metavar="COMMAND", choices=[command.name for command in commands])
    named = parser.parse_args(words[:1]).command
    command = next(command for command in commands if command.name == named)
    own = _CommandParser(f"{service} {command.name}", command)
    if command.arguments is None:
        own.parse_args(words[1:])
        return int(_loaded(command.main)())
    _loaded(command.arguments)(own)
    parsed = own.parse_args(words[1:])
    return int(_loaded(command.main)(parsed))


def settings_table(name: str, width: int) -> str:
    """The settings of the class that `module:attribute` names: variable, default, meaning, `width` columns wide."""
    rows = _loaded(name).table()
    defaults = max(len("default"), *(len(row.default) for row in rows))
    lines = [f"  {'variable':{_NAME_WIDTH}}  {'default':{defaults}}  meaning"]
    for row in rows:
        start = f"  {row.name:{_NAME_WIDTH}}  {row.default:{defaults}}  "
        meaning = textwrap.wrap(row.meaning, max(24, width - len(start))) or [""]
        lines.append((start + meaning[0]).rstrip())
        lines += [" " * len(start) + more for more in meaning[1:]]
    return "\n".join(lines)


class _CommandParser(argparse.ArgumentParser):
    """Its help ends with the settings, whose class is imported only then."""

    def __init__(self, prog: str, command: Command) -> None:
        super().__init__(prog=prog, description=command.summary)
        self._settings = command.settings

    def format_help(self) -> str:
        """Usage, options, and the table of settings."""
        table = settings_table(self._settings, _terminal_width())
        return f"{super().format_help()}\nsettings, from the environment:\n{table}\n"


def _overview(service: str, commands: Sequence[Command]) -> str:
    width = max(len(command.name) for command in commands)
    lines = [f"  {command.name:{width}}  {command.summary}" for command in commands]
    return "\n".join(
        ["commands:", *lines, "", f"`{service} COMMAND --help` shows the settings of a command."]
    )


def _terminal_width() -> int:
    return min(_MOST_WIDTH, max(_LEAST_WIDTH, shutil.get_terminal_size((120, 24)).columns))


def _loaded(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
