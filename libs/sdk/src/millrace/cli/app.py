"""The commands together, and what an error looks like."""

import sys
from importlib.metadata import entry_points
from typing import Annotated

import typer

from millrace import __version__
from millrace.cli.plot import plot
from millrace.cli.query import query
from millrace.cli.send import send
from millrace.cli.sql import sql
from millrace.cli.status import status
from millrace.errors import InvalidRequestError, MillraceError, UnauthenticatedError, UnreachableError

# Other distributions bring commands under this group: `up` comes with `standalone`.
COMMANDS = "millrace.commands"


def run() -> None:
    """Runs the command line of this process and ends it; an error is one line on stderr.

    Exit 2 for arguments that make no sense, 1 for everything else that fails.
    """
    try:
        build()()
    except MillraceError as error:
        sys.stderr.write(f"millrace: {explained(error)}\n")
        sys.exit(2 if isinstance(error, InvalidRequestError) else 1)


def build() -> typer.Typer:
    """All commands: ours, and those that installed distributions bring."""
    app = typer.Typer(
        help="Millrace: webhooks in, exactly once into an open lake, answers in milliseconds.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.callback()(_root)
    for brought in sorted(entry_points(group=COMMANDS), key=lambda entry: entry.name):
        command = brought.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=brought.name)
        else:
            app.command(brought.name)(command)
    app.command()(send)
    app.command()(query)
    app.command()(sql)
    app.command()(plot)
    app.command()(status)
    return app


def explained(error: MillraceError) -> str:
    """The error and what to do about it."""
    if isinstance(error, UnreachableError):
        return (
            f"{error}\nStart Millrace with `millrace up`; if it runs, MILLRACE_URL, "
            "MILLRACE_PORT_OFFSET or --port-offset must name it."
        )
    if isinstance(error, UnauthenticatedError):
        return f"{error}\nThe key comes from MILLRACE_API_KEY, else from credentials.json in MILLRACE_DATA."
    return str(error)


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)
    ] = False,
) -> None:
    if version:
        typer.echo(f"millrace {__version__}")
        raise typer.Exit
