"""The group `millrace storage`. Light to import: the command line loads it to list its commands."""

import typer

from standalone.storage.archive import archive
from standalone.storage.cleanup import cleanup
from standalone.storage.deduplicate import deduplicate
from standalone.storage.dump_parquet import dump_parquet
from standalone.storage.duplicates import detect_duplicates
from standalone.storage.errors import errors
from standalone.storage.ingest_message import ingest_message
from standalone.storage.job import job
from standalone.storage.query import query, query_by_id
from standalone.storage.schema import schema
from standalone.storage.stats import stats
from standalone.storage.validate import validate

storage = typer.Typer(
    help="Work on journals, lake and archive by their files; no service needs to run.", no_args_is_help=True
)
storage.command("dump-parquet")(dump_parquet)
storage.command("ingest-message")(ingest_message)
storage.command("deduplicate")(deduplicate)
storage.command()(query)
storage.command()(query_by_id)
storage.command()(validate)
storage.command()(detect_duplicates)
storage.command()(errors)
storage.add_typer(schema, name="schema")
storage.command()(archive)
storage.command()(cleanup)
storage.command()(stats)
storage.command()(job)
