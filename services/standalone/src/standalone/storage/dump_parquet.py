"""`millrace storage dump-parquet`: journals into the lake, from where each checkpoint stands (LAKE section 12)."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from standalone.storage.outcome import outcome, print_json
from standalone.storage.roots import CheckpointDir, Json, ParquetRoot, RawDir, roots

if TYPE_CHECKING:
    from ingest_service.ingest.results import DirectoryReport
    from ingest_service.land.batch import Counts

BatchSize = Annotated[
    int,
    typer.Option("--batch-size", min=1, help="Lines of a batch; a commit takes up to 16 batches, or 10 MiB."),
]
Deduplicate = Annotated[
    bool,
    typer.Option(
        "--deduplicate/--no-deduplicate", help="One row per msg_id, over all days, hot and archive."
    ),
]


def dump_parquet(
    raw_dir: RawDir = None,
    parquet_root: ParquetRoot = None,
    checkpoint_dir: CheckpointDir = None,
    batch_size: BatchSize = 1000,
    deduplicate: Deduplicate = True,
    date: Annotated[
        str | None,
        typer.Option("--date", metavar="YYYY-MM-DD", help="Only that day's journal; default: all."),
    ] = None,
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing/--overwrite",
            help="Go on from each checkpoint; or read all again from line 1: damaged data files are laid aside and "
            "their rows land again, rows that are there stay as they are.",
        ),
    ] = True,
    as_json: Json = False,
) -> None:
    """Bring what is new in the journals into the lake.

    Safe beside a running lake writer and at any moment interrupted: the next run goes on.
    """
    from standalone.memory import prefer_one_allocator
    from standalone.storage.progress import bytes_progress

    with outcome():
        prefer_one_allocator()
        from ingest_service.ingest import ingest_directory

        places = roots(raw_dir=raw_dir, parquet_root=parquet_root, checkpoint_dir=checkpoint_dir)
        with bytes_progress("ingesting") as watcher:
            report = ingest_directory(
                places.raw,
                places.parquet,
                places.checkpoints,
                batch_size,
                deduplicate,
                day=date,
                overwrite=not skip_existing,
                watcher=watcher,
            )
    _print(report, as_json)
    failed = [journal for journal in report.journals if journal.result is None]
    for journal in failed:
        sys.stderr.write(f"millrace storage: {journal.journal}: {journal.error}\n")
    if failed:
        raise typer.Exit(failed[0].exit_code)


def _print(report: "DirectoryReport", as_json: bool) -> None:
    if as_json:
        print_json(_as_json(report))
        return
    for path in report.repaired:
        typer.echo(f"damaged, laid aside: {path}")
    row = "{:<24} {:>12} {:>12} {:>12} {:>10} {:>10} {:>10} {:>10}"
    typer.echo(
        row.format("journal", "processed", "new", "duplicates", "rejected", "contacts", "other", "blank")
    )
    for journal in report.journals:
        name = Path(journal.journal).name
        if journal.result is None:
            typer.echo(f"{name:<24} not read: {journal.error_type}")
        else:
            typer.echo(row.format(name, *_cells(journal.result.accounting)))
    typer.echo(row.format(f"total of {len(report.journals)}", *_cells(report.totals)))


def _cells(counts: "Counts") -> list[str]:
    numbers = (
        counts.lines,
        counts.messages,
        counts.duplicates,
        counts.rejected,
        counts.contacts,
        counts.other,
        counts.blank,
    )
    return [f"{number:,}" for number in numbers]


def _as_json(report: "DirectoryReport") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "journals": [
            {"journal": one.journal, "error": one.error, "error_type": one.error_type}
            if one.result is None
            else {
                "journal": one.journal,
                **asdict(one.result),
                "accounting": asdict(one.result.accounting),
                "errors": one.errors,
            }
            for one in report.journals
        ],
        "totals": asdict(report.totals),
        "repaired": report.repaired,
    }
