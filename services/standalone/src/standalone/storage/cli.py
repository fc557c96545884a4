"""The group `millrace storage`. Light to import: the command line loads it to list its commands."""

import typer

from standalone.storage.deduplicate import deduplicate
from standalone.storage.dump_parquet import dump_parquet
from standalone.storage.ingest_message import ingest_message

storage = typer.Typer(
    help="Work on journals, lake and archive by their files; no service needs to run.", no_args_is_help=True
)

storage.command("dump-parquet")(dump_parquet)
storage.command("ingest-message")(ingest_message)
storage.command("deduplicate")(deduplicate)
