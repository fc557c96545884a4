"""Which versions of a schema the files of a dataset have (LAKE-85)."""

from __future__ import annotations

import dataclasses
import pathlib

import pyarrow as pa

from ingest_service.check.content import UnreadableFileError, opened
from ingest_service.check.files import Listing, dataset_directory, existing_directory
from ingest_service.errors import storage_errors
from ingest_service.registry.compare import compare, file_columns


@dataclasses.dataclass(frozen=True, slots=True)
class FilesOfVersion:
    """Files that have the same fields."""

    field_count: int
    file_count: int
    sample_file: str


@dataclasses.dataclass(frozen=True, slots=True)
class Incompatible:
    """A file whose fields were removed or changed since."""

    file: str
    errors: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class EvolutionReport:
    """The result of LAKE-85; versions in the order in which the days of their first files come."""

    has_evolution: bool
    schema_versions: tuple[FilesOfVersion, ...]
    incompatible_partitions: tuple[Incompatible, ...]
    warnings: tuple[str, ...]


def scan_evolution(
    root: pathlib.Path, dataset: str = "messages", latest: pa.Schema | None = None
) -> EvolutionReport:
    """Looks at the schema of every file of the dataset below `root`.

    `latest`: what the files should be compatible with; without it, the schema of the newest day's last file.

    Raises:
        NotFoundError: there is no such root.
    """
    existing_directory(root, "parquet_root")
    table = dataset_directory(root, dataset)
    if not table.is_dir():
        return EvolutionReport(False, (), (), ())
    with storage_errors("scan_evolution", table):
        found = Listing(table).below(table)
    warnings = [f"{path.relative_to(table)}: is missing" for path in found.missing]
    warnings += [f"{each.path.relative_to(table)}: {each.fault}" for each in found.strangers]
    schemas: dict[str, pa.Schema] = {}
    for path in found.data:
        try:
            with opened(path) as file:
                schemas[path.relative_to(table).as_posix()] = file_columns(file.schema_arrow)
        except UnreadableFileError as error:
            warnings.append(f"{path.relative_to(table)}: {error}")
    versions = _versions(schemas)
    newest = latest if latest is not None else next(reversed(schemas.values()), None)
    return EvolutionReport(
        has_evolution=len(versions) > 1,
        schema_versions=tuple(versions),
        incompatible_partitions=tuple(_incompatible(schemas, newest)),
        warnings=tuple(warnings),
    )


def _versions(schemas: dict[str, pa.Schema]) -> list[FilesOfVersion]:
    alike: dict[frozenset[tuple[str, str]], list[str]] = {}
    for name, schema in schemas.items():
        alike.setdefault(frozenset((field.name, str(field.type)) for field in schema), []).append(name)
    return [FilesOfVersion(len(fields), len(names), names[0]) for fields, names in alike.items()]


def _incompatible(schemas: dict[str, pa.Schema], newest: pa.Schema | None) -> list[Incompatible]:
    if newest is None:
        return []
    compared = ((name, compare(schema, file_columns(newest))) for name, schema in schemas.items())
    return [Incompatible(name, found.errors) for name, found in compared if not found.is_compatible]
