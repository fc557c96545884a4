"""`millrace storage archive`: days that are old enough, from the lake to the archive (LAKE-110)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from standalone.storage.outcome import outcome, print_json
from standalone.storage.roots import ArchiveRoot, Json, ParquetRoot, roots

if TYPE_CHECKING:
    from ingest_service.keep.archive import ArchiveResult


def archive(
    parquet_root: ParquetRoot = None,
    archive_root: ArchiveRoot = None,
    older_than_days: Annotated[
        int, typer.Option("--older-than-days", help="Move days of more whole days ago than this.")
    ] = 90,
    compression_level: Annotated[int, typer.Option("--compression-level", help="Zstd level, 1 to 22.")] = 19,
    as_json: Json = False,
) -> None:
    """Move old days to the archive: written there, read back and compared, then removed from the lake.

    A day that cannot be moved stays in the lake and is named; the others go on.
    """
    with outcome():
        from datetime import UTC, datetime

        from ingest_service.keep import archive as keeping
        from ingest_service.lake.tables import Lake
        from standalone.storage.progress import progress

        at = roots(parquet_root=parquet_root, archive_root=archive_root)
        with progress("archiving") as step:
            result = keeping.archive(
                Lake(at.parquet, archive=at.archive),
                at.metadata,
                today=datetime.now(UTC).date(),
                older_than_days=older_than_days,
                level=compression_level,
                begun=lambda dataset, day, number, of: step(f"{dataset} {day}", number, of),
            )
    if as_json:
        print_json(result.summary())
    else:
        _print(result)
    if result.failed:
        raise typer.Exit(result.failed[0].exit_code)


def _print(result: ArchiveResult) -> None:
    typer.echo(f"partitions  {result.archived_partitions}")
    typer.echo(f"MB before   {result.total_size_before_mb:,.2f}")
    typer.echo(f"MB after    {result.total_size_after_mb:,.2f}")
    typer.echo(f"ratio       {result.compression_ratio:.2f}")
    for one in result.failed:
        typer.echo(f"millrace storage: {one.dataset} {one.partition_key} stays: {one.error}", err=True)
