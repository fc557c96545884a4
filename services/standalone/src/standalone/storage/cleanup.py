"""`millrace storage cleanup`: journals that are in the lake for good (LAKE-111)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from standalone.storage.outcome import outcome, print_json
from standalone.storage.roots import Json, ParquetRoot, RawDir, roots

if TYPE_CHECKING:
    from ingest_service.keep.cleanup import CleanupResult

_EX_IOERR = 74


def cleanup(
    raw_dir: RawDir = None,
    parquet_root: ParquetRoot = None,
    retention_days: Annotated[
        int, typer.Option("--retention-days", help="Keep journals of up to so many whole days ago.")
    ] = 7,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Remove old journals whose every line is in the lake; nothing else.

    The archive is looked for beside the lake.
    """
    with outcome():
        from dataclasses import asdict

        from ingest_service.keep.cleanup import clean_up
        from ingest_service.lake.tables import Lake
        from millrace_runtime.clock import SYSTEM_CLOCK
        from standalone.storage.progress import progress

        at = roots(raw_dir=raw_dir, parquet_root=parquet_root)
        with progress("looking at journals") as step:
            result = clean_up(
                at.raw,
                Lake(at.parquet, archive=at.archive),
                at.metadata,
                now_ms=SYSTEM_CLOCK.now_ms,
                retention_days=retention_days,
                dry_run=dry_run,
                looked_at=step,
            )
    if as_json:
        print_json(asdict(result))
    else:
        _print(result, dry_run)
    if result.failed:
        raise typer.Exit(_EX_IOERR)


def _print(result: CleanupResult, dry_run: bool) -> None:
    typer.echo(f"total_scanned       {result.total_scanned}")
    typer.echo(f"deleted             {result.deleted}")
    typer.echo(f"skipped_no_parquet  {result.skipped_no_parquet}")
    typer.echo(f"skipped_in_use      {result.skipped_in_use}")
    typer.echo(f"deleted_files       {len(result.deleted_files)}{' would go' if dry_run else ''}")
    for name in result.deleted_files:
        typer.echo(f"  {name}")
    for name, reason in result.kept.items():
        typer.echo(f"  {name} stays: {reason}")
    for name, error in result.failed.items():
        typer.echo(f"millrace storage: {name} stays: {error}", err=True)
