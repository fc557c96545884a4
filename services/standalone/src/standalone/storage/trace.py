"""`millrace trace MSG_ID`: where a message came in, how it went, and where its row is (proof per row)."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from millrace.cli.options import Data
from standalone.storage.outcome import outcome, print_json
from standalone.storage.roots import ArchiveRoot, Json, ParquetRoot, RawDir, roots

if TYPE_CHECKING:
    from ingest_service.proof.history import Step
    from ingest_service.proof.relayed import Relayed
    from ingest_service.proof.trace import Trace


def trace(
    msg_id: Annotated[str, typer.Argument(metavar="MSG_ID", help="As it is stored.")],
    data: Data = None,
    parquet_root: ParquetRoot = None,
    archive_root: ArchiveRoot = None,
    raw_dir: RawDir = None,
    as_json: Json = False,
) -> None:
    """Journal and line, Kafka partition and offset, commit and file of one message, when each was, and which other
    lines have the same id and were dropped for it. What can not be known any more is said. Exit code 66: unknown id.
    """
    from standalone.storage.progress import bytes_progress

    with outcome("millrace trace"):
        from ingest_service.proof.trace import trace as follow

        places = roots(parquet_root=parquet_root, archive_root=archive_root, raw_dir=raw_dir, data=data)
        with bytes_progress("searching journals") as watcher:
            found = follow(
                msg_id,
                places.parquet,
                places.raw,
                archive_root=places.archive,
                planned=watcher.planned,
                advanced=watcher.advanced,
            )
        if as_json:
            print_json(_plain(found))
        else:
            _report(found)


def _plain(found: "Trace") -> dict[str, Any]:
    told = asdict(found)
    if told["row"] is not None:
        told["row"]["table"] = str(told["row"]["table"])
    return told


def _report(found: "Trace") -> None:
    typer.echo(f"msg_id      {found.msg_id}")
    if found.row is None:
        typer.echo(
            "row         none: what its lines say waits for landing, or was refused (millrace dead-letters)"
        )
    if (accepted := found.accepted) is not None:
        element = f", element {accepted.element}" if accepted.element else ""
        when = _time(accepted.received_at_ms)
        typer.echo(
            f"accepted    {when}  {accepted.journal} line {accepted.line}{element}, door {accepted.door}"
        )
    if found.relayed is not None:
        typer.echo(f"relayed     {_relayed(found.relayed)}")
    if found.row is not None:
        ingested = _time(int(found.row.ingestion_time.timestamp() * 1000))
        typer.echo(f"landed      {ingested}  {_step(found.landed) if found.landed else 'commit not known'}")
    for step in found.rewritten:
        typer.echo(f"rewritten   {_time(step.committed_at_ms)}  {_step(step)}")
    if found.moved_to_archive is not None:
        moved = found.moved_to_archive
        typer.echo(f"archived    {_time(moved.committed_at_ms)}  {_step(moved)}")
    if found.file is not None:
        typer.echo(f"now in      {found.file}")
    for one in found.repeats:
        what = "repeat" if found.row is not None else "line"
        typer.echo(f"{what:11} {_time(one.received_at_ms)}  {one.journal} line {one.line}, door {one.door}")
    for sentence in found.unknown:
        typer.echo(f"unknown     {sentence}")


def _step(step: "Step") -> str:
    return f"version {step.version} of {step.table}, {step.file}"


def _relayed(relayed: "Relayed") -> str:
    topic = f"topic {relayed.topic or 'not known'}"
    if relayed.partition is None:
        of = ", ".join(map(str, relayed.possible))
        return f"{topic}, {f'one of the partitions {of}' if of else 'partition not known'}"
    if relayed.last_offset is None:
        return f"{topic}, partition {relayed.partition}, offset not known"
    if relayed.first_offset == relayed.last_offset:
        return f"{topic}, partition {relayed.partition}, offset {relayed.last_offset}"
    first = "?" if relayed.first_offset is None else relayed.first_offset
    return f"{topic}, partition {relayed.partition}, an offset of {first} to {relayed.last_offset}"


def _time(unix_ms: int | None) -> str:
    if unix_ms is None:
        return "not known               "
    moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
