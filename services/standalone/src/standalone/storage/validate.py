"""`millrace storage validate`: whether the files of partitions are whole, alike and of their day."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from standalone.storage.outcome import EX_CHECK_FAILED, outcome, print_json
from standalone.storage.progress import counted
from standalone.storage.roots import Json, ParquetRoot, roots

if TYPE_CHECKING:
    from ingest_service.check.partitions import PartitionReport

    Reports = Iterator[tuple[Path, PartitionReport]]


def validate(
    path: Annotated[
        Path | None, typer.Argument(metavar="[PATH]", help="Directory of one partition.", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every partition of every dataset.")] = False,
    parquet_root: ParquetRoot = None,
    as_json: Json = False,
) -> None:
    """Look into every data file. Exit code 3 when a partition is not valid."""
    from ingest_service.errors import BadArgumentError

    with outcome():
        if (path is None) == (not every):
            raise BadArgumentError("give the PATH of a partition, or --all")
        reports = list(counted(_all(parquet_root) if path is None else _one(path), "partitions"))
        if as_json:
            print_json(_result(reports))
        else:
            for place, report in reports:
                _print(place, report)
            if every:
                typer.echo(_summary(reports))
    if not all(report.is_valid for _, report in reports):
        raise typer.Exit(EX_CHECK_FAILED)


def _one(path: Path) -> "Reports":
    from ingest_service.check.files import existing_directory
    from ingest_service.check.partitions import validate_partition

    if not path.exists():
        existing_directory(path, "PATH")
    yield path, validate_partition(path.resolve())


def _all(parquet_root: Path | None) -> "Reports":
    from ingest_service.check.files import existing_directory
    from ingest_service.check.partitions import validate_dataset
    from millrace_schemas import datasets

    root = roots(parquet_root=parquet_root).parquet
    existing_directory(root, "--parquet-root")
    for dataset in datasets.NAMES:
        if (root / dataset).is_dir():
            yield from validate_dataset(root / dataset)


def _result(reports: "list[tuple[Path, PartitionReport]]") -> dict[str, Any]:
    return {
        "is_valid": all(report.is_valid for _, report in reports),
        "partitions": [{"path": str(place), **asdict(report)} for place, report in reports],
    }


def _print(place: Path, report: "PartitionReport") -> None:
    state = "valid" if report.is_valid else "NOT VALID"
    typer.echo(
        f"{place}: {state}; files {report.file_count:,}, records {report.total_records:,}, "
        f"bytes {report.total_size_bytes:,}"
    )
    for error in report.errors:
        typer.echo(f"  {error}")


def _summary(reports: "list[tuple[Path, PartitionReport]]") -> str:
    wrong = sum(not report.is_valid for _, report in reports)
    return f"{len(reports):,} partitions, {wrong:,} not valid"
