"""The group `millrace storage`. Light to import: the command line loads it to list its commands."""

import typer

from standalone.storage.archive import archive
from standalone.storage.cleanup import cleanup
from standalone.storage.job import job
from standalone.storage.stats import stats

storage = typer.Typer(
    help="Work on journals, lake and archive by their files; no service needs to run.", no_args_is_help=True
)
storage.command()(archive)
storage.command()(cleanup)
storage.command()(stats)
storage.command()(job)
