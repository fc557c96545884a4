"""`millrace storage ingest-message`: one payload into today's journal and from there into the lake."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from standalone.storage.dump_parquet import Deduplicate
from standalone.storage.outcome import outcome, print_json
from standalone.storage.roots import CheckpointDir, Json, ParquetRoot, roots


def ingest_message(
    message: Annotated[
        str | None,
        typer.Option("-m", "--message", metavar="JSON", help="The payload; - reads it from stdin."),
    ] = None,
    message_file: Annotated[
        Path | None, typer.Option("-f", "--message-file", help="A file with the payload.")
    ] = None,
    raw_file: Annotated[
        Path | None,
        typer.Option(
            "--raw-file",
            help="Today's journal (UTC), or a directory of journals; default: the data directory's.",
        ),
    ] = None,
    checkpoint_dir: CheckpointDir = None,
    deduplicate: Deduplicate = True,
    parquet_root: ParquetRoot = None,
    as_json: Json = False,
) -> None:
    """Store one message, given as -m, in a file, or on stdin.

    It is in the journal, durably, before the lake is touched.
    """
    with outcome():
        from ingest_service.ingest import ingest_message as ingest

        body = _body(message, message_file)
        places = roots(parquet_root=parquet_root, checkpoint_dir=checkpoint_dir)
        done = ingest(body, raw_file or places.raw, places.parquet, places.checkpoints, deduplicate)
    if as_json:
        print_json(asdict(done))
        return
    repeat = "" if done.rows_written else " (the lake has it already)"
    typer.echo(f"journal            {done.journal}, line {done.line}")
    typer.echo(f"rows written       {done.rows_written}{repeat}")
    typer.echo(f"partition          {done.dataset} {done.partition}")
    typer.echo(f"checkpoint offset  {done.checkpoint_offset}")


def _body(message: str | None, file: Path | None) -> bytes:
    """The payload's bytes. Raises BadArgumentError for no source or two, StorageError for a file."""
    from ingest_service.errors import BadArgumentError, storage_errors

    if message is not None and file is not None:
        raise BadArgumentError("give the message by -m/--message or by -f/--message-file, not by both")
    if file is not None:
        with storage_errors("read message", file):
            return file.read_bytes()
    if message is not None and message != "-":
        return message.encode(errors="surrogateescape")
    body = b"" if sys.stdin.isatty() and message is None else sys.stdin.buffer.read()
    if message is None and not body.strip():
        raise BadArgumentError("no message: give it by -m/--message, -f/--message-file or on stdin")
    return body
