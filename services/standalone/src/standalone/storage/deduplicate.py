"""`millrace storage deduplicate`: takes surplus rows out of the messages of a lake."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from standalone.storage.outcome import outcome, print_json
from standalone.storage.roots import Json, ParquetRoot, roots


def deduplicate(
    parquet_root: ParquetRoot = None,
    partition: Annotated[
        str | None,
        typer.Option("--date", metavar="YYYY-MM-DD", help="Only that day's rows; default: all days."),
    ] = None,
    output_root: Annotated[
        Path | None,
        typer.Option("--output-root", help="Write the unique rows to another lake; default: in place."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Keep of each msg_id the row that was stored first.

    Such rows come by --no-deduplicate, or from another program.
    """
    with outcome():
        from ingest_service.ingest import deduplicate as remove_duplicates

        result = remove_duplicates(roots(parquet_root=parquet_root).parquet, partition, output_root)
    if as_json:
        print_json(asdict(result))
        return
    typer.echo(f"rows                {result.total_records:,}")
    typer.echo(f"unique              {result.unique_records:,}")
    typer.echo(f"duplicates removed  {result.duplicates_removed:,}")
    typer.echo(f"files looked at     {result.files_processed:,}, of {result.partitions_processed:,} days")
