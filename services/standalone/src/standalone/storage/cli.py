"""The group `millrace storage`. Light to import: the command line loads it to list its commands."""

import typer

storage = typer.Typer(
    help="Work on journals, lake and archive by their files; no service needs to run.", no_args_is_help=True
)
