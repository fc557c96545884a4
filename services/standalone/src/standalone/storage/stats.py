"""`millrace storage stats`: sizes, ages, compression and growth (LAKE-121 to LAKE-124)."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from standalone.storage.outcome import outcome, print_json
from standalone.storage.roots import ArchiveRoot, Json, ParquetRoot, RawDir, roots

_GB = 1_000_000_000


def stats(
    parquet_root: ParquetRoot = None,
    archive_root: ArchiveRoot = None,
    raw_dir: RawDir = None,
    capacity_gb: Annotated[
        float | None,
        typer.Option(
            "--capacity-gb",
            min=0,
            help="Until when it lasts; default: what is used and the disk's free space.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """What lake, archive and journals amount to, how old it is, and how fast it grows."""
    with outcome():
        from datetime import UTC, datetime

        from ingest_service.keep.statistics import statistics
        from ingest_service.lake.tables import Lake
        from standalone.storage.progress import progress

        at = roots(raw_dir=raw_dir, parquet_root=parquet_root, archive_root=archive_root)
        with progress("reading footers") as step:
            found = statistics(
                Lake(at.parquet, archive=at.archive),
                at.raw,
                today=datetime.now(UTC).date(),
                capacity_bytes=None if capacity_gb is None else int(capacity_gb * _GB),
                read=lambda number, of: step("", number, of),
            )
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    sizes = Table("", "partitions", "files", "MB", "rows", "oldest", "newest")
    storage = found["storage"]
    for place in ("parquet", "archive", "raw"):
        known = storage[place]
        if known is None:
            sizes.add_row(place, *["-"] * 6)
            continue
        names = (
            "total_partitions",
            "total_files",
            "total_size_mb",
            "total_rows",
            "oldest_partition",
            "newest_partition",
        )
        sizes.add_row(place, *(_text(known.get(name)) for name in names))
    sizes.add_row("total", "", "", _text(storage["total_size_mb"]), "", "", "")
    console.print(sizes)
    ages = Table("age", "partitions")
    for name, count in found["age_distribution"].items():
        ages.add_row(name, _text(count))
    console.print(ages)
    packed = found["compression"]
    console.print(
        f"compression: {packed['total_uncompressed_size_mb']:,.2f} MB in "
        f"{packed['total_compressed_size_mb']:,.2f} MB, ratio {packed['average_compression_ratio']:.2f}"
    )
    for path in packed["unreadable_files"]:
        typer.echo(f"millrace storage: {path} cannot be read and is left out", err=True)
    rates = Table("growth", "bytes a day", "rows a day", "days until capacity")
    for days in (7, 30):
        rate = found["growth"][f"last_{days}_days"]
        rates.add_row(
            f"last {days} days",
            *(_text(rate[name]) for name in ("bytes_per_day", "rows_per_day", "days_until_capacity")),
        )
    console.print(rates)


def _text(value: object) -> str:
    match value:
        case None:
            return "-"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.2f}"
    return str(value)
