"""`millrace storage errors`: how many lines could not become a row, and why."""

import sys
from dataclasses import asdict

import typer

from standalone.storage.outcome import outcome, print_json
from standalone.storage.roots import Json, ParquetRoot, roots


def errors(parquet_root: ParquetRoot = None, as_json: Json = False) -> None:
    """Count the dead letters by error_type and reason."""
    from ingest_service.check.errors import error_counts

    with outcome():
        report = error_counts(roots(parquet_root=parquet_root).parquet)
        for problem in report.unreadable:
            sys.stderr.write(f"warning: {problem}; its rows are not counted\n")
        if as_json:
            print_json(asdict(report))
            return
        typer.echo(f"{sum(report.by_type.values()):,} dead letters")
        for each in report.counts:
            typer.echo(f"  {each.count:,}  {each.error_type}  {each.reason}")
