"""`millrace storage detect-duplicates`: msg_ids that stand in more than one row."""

import csv
import io
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from standalone.storage.outcome import EX_CHECK_FAILED, outcome, print_json
from standalone.storage.output import written
from standalone.storage.progress import count
from standalone.storage.roots import ArchiveRoot, Json, ParquetRoot, roots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest_service.check.duplicates import Duplicate, DuplicateReport


def detect_duplicates(
    parquet_root: ParquetRoot = None,
    archive_root: ArchiveRoot = None,
    show_details: Annotated[
        bool, typer.Option("--show-details", help="List each msg_id and its count, highest first.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.csv", help="Write msg_id and count there.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Count msg_ids over the lake and its archive. Exit code 3 when one stands twice."""
    from ingest_service.check.duplicates import detect_duplicates as detect

    with outcome():
        where = roots(parquet_root=parquet_root, archive_root=archive_root)
        with count("files") as tell:
            report = detect(where.parquet, where.archive, watch=tell)
        for problem in report.unreadable:
            sys.stderr.write(f"warning: {problem}; its rows are not counted\n")
        if output is not None:
            _write_csv(report.rows, output)
        if as_json:
            print_json(_result(report))
        else:
            _print(report, show_details, output)
    if report.rows:
        raise typer.Exit(EX_CHECK_FAILED)


def _result(report: "DuplicateReport") -> dict[str, object]:
    return {
        "msg_ids": len(report.rows),
        "surplus_rows": report.surplus_rows,
        "files_read": report.files_read,
        "total_records": report.total_records,
        "unreadable": report.unreadable,
        "duplicates": [asdict(row) for row in report.rows],
    }


def _print(report: "DuplicateReport", details: bool, output: Path | None) -> None:
    typer.echo(
        f"{len(report.rows):,} msg_ids stand more than once, {report.surplus_rows:,} surplus rows "
        f"of {report.total_records:,} in {report.files_read:,} files"
    )
    if details:
        for row in report.rows:
            typer.echo(f"{row.count}\t{row.msg_id}")
    if output is not None:
        typer.echo(f"{len(report.rows):,} msg_ids written to {output}")


def _write_csv(rows: "Sequence[Duplicate]", output: Path) -> None:
    with written(output) as file, io.TextIOWrapper(file, "utf-8", newline="") as text:
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(("msg_id", "count"))
        writer.writerows((row.msg_id, row.count) for row in rows)
