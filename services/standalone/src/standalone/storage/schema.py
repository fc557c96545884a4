"""`millrace storage schema list|show|check`: the registered schema versions, and those that the files have."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from standalone.storage.outcome import EX_CHECK_FAILED, outcome, print_json
from standalone.storage.roots import Json, ParquetRoot, Roots, roots

if TYPE_CHECKING:
    import pyarrow as pa

    from ingest_service.registry.registry import Entry, SchemaRegistry
    from ingest_service.registry.scan import EvolutionReport

schema = typer.Typer(help="Schema versions of messages and contacts.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="message_content or contact_sync.")]
_NOT_REGISTERED = "as this release writes it, not registered yet"


@schema.command("list")
def list_(parquet_root: ParquetRoot = None, as_json: Json = False) -> None:
    """Every registered version of every schema."""
    with outcome():
        entries = _entries(_registry(parquet_root))
        if as_json:
            print_json([_described(entry) for entry in entries])
            return
        for entry in entries:
            when = "" if entry.version == 0 else f"{entry.registered_at:%Y-%m-%d %H:%M:%S} UTC  "
            version = "-" if entry.version == 0 else str(entry.version)
            typer.echo(
                f"{entry.schema_name}  {version}  {len(entry.schema)} fields  {when}{entry.description}"
            )


@schema.command()
def show(
    name: Name,
    version: Annotated[int | None, typer.Option(min=1, help="Default: the latest.")] = None,
    parquet_root: ParquetRoot = None,
    as_json: Json = False,
) -> None:
    """The fields of one version."""
    from ingest_service.errors import NotFoundError

    with outcome():
        registry = _registry(parquet_root)
        entry = registry.get(name, version)
        if entry is None and version is None:
            entry = next((each for each in _entries(registry) if each.schema_name == name), None)
        if entry is None:
            which = f"version {version}" if version and registry.get(name) else "schema"
            raise NotFoundError(f"NAME {name}: there is no such {which}", source=registry.path)
        if as_json:
            print_json(_described(entry))
            return
        typer.echo(f"{entry.schema_name} {entry.version or ''}".rstrip() + f": {entry.description}")
        for field in entry.schema:
            typer.echo(f"  {field.name}  {field.type}{'' if field.nullable else '  not null'}")


@schema.command()
def check(
    parquet_root: ParquetRoot = None,
    dataset: Annotated[
        str, typer.Option("--dataset", metavar="NAME", help="messages or contacts.")
    ] = "messages",
    rewrite: Annotated[
        bool,
        typer.Option(
            "--rewrite", help="First rewrite partitions whose files are of several versions, to the newest."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare the files of a dataset with each other and with the latest version. Exit code 3 when some are not
    compatible with it."""
    from ingest_service.errors import BadArgumentError
    from ingest_service.registry.registry import DATASETS, built_in
    from ingest_service.registry.scan import scan_evolution

    with outcome():
        names = {of: name for name, of in DATASETS.items()}
        if dataset not in names:
            raise BadArgumentError(f"--dataset: there is no schema of {dataset!r}; of {', '.join(names)}")
        where = roots(parquet_root=parquet_root)
        registered = _registry(parquet_root).get(names[dataset])
        latest: pa.Schema = built_in(names[dataset]) if registered is None else registered.schema
        rewritten = _rewrite(where, dataset) if rewrite else ()
        report = scan_evolution(where.parquet, dataset, latest)
        if as_json:
            print_json({**asdict(report), "rewritten_partitions": rewritten})
        else:
            for day in rewritten:
                typer.echo(f"rewritten: {day}")
            _print(report)
    if report.incompatible_partitions:
        raise typer.Exit(EX_CHECK_FAILED)


def _rewrite(where: "Roots", dataset: str) -> tuple[str, ...]:
    """The days whose files were rewritten to one version (LAKE-84)."""
    from deltalake.exceptions import DeltaError

    from ingest_service.check.files import existing_directory
    from ingest_service.errors import StorageIoError
    from ingest_service.lake.recover import upkeep
    from ingest_service.lake.tables import WRITER_PROPERTIES, Lake
    from ingest_service.registry.evolve import unify

    existing_directory(where.parquet, "--parquet-root")
    lake = Lake(where.parquet)
    if not lake.exists(dataset):
        return ()
    try:
        with upkeep(where.metadata):
            days = unify(lake.open(dataset), lake.path(dataset), WRITER_PROPERTIES[dataset])
    except DeltaError as error:
        raise StorageIoError(
            f"{dataset}: another process changed the table meanwhile, try again: {error}"
        ) from error
    return tuple("-".join(day) for day in days)


def _registry(parquet_root: Path | None) -> "SchemaRegistry":
    from ingest_service.registry.registry import SchemaRegistry

    return SchemaRegistry(roots(parquet_root=parquet_root).metadata)


def _entries(registry: "SchemaRegistry") -> "list[Entry]":
    """What is registered, and of a schema of which nothing is, as version 0, what this release writes."""
    from datetime import UTC, datetime

    from ingest_service.registry.registry import DATASETS, Entry, built_in

    known = registry.names()
    entries = []
    for name in sorted({*known, *DATASETS}):
        if name not in known:
            entries.append(Entry(name, 0, built_in(name), _NOT_REGISTERED, datetime.fromtimestamp(0, UTC)))
        for listed in registry.list_versions(name):
            entry = registry.get(name, listed.version)
            if entry is not None:
                entries.append(entry)
    return entries


def _described(entry: "Entry") -> dict[str, Any]:
    fields = [
        {"name": field.name, "type": str(field.type), "nullable": field.nullable} for field in entry.schema
    ]
    return {
        "schema_name": entry.schema_name,
        "version": entry.version or None,
        "schema": {"fields": fields},
        "description": entry.description,
        "registered_at": entry.registered_at if entry.version else None,
    }


def _print(report: "EvolutionReport") -> None:
    versions = len(report.schema_versions)
    typer.echo(f"{versions} schema {'version' if versions == 1 else 'versions'} in the files")
    for each in report.schema_versions:
        typer.echo(f"  {each.field_count} fields in {each.file_count:,} files, such as {each.sample_file}")
    for incompatible in report.incompatible_partitions:
        typer.echo(f"not compatible: {incompatible.file}: {'; '.join(incompatible.errors)}")
    for warning in report.warnings:
        typer.echo(f"warning: {warning}", err=True)
