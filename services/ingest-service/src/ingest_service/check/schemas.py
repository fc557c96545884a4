"""validate_schema: whether a file has the fields that are expected of it."""

from __future__ import annotations

import dataclasses
import pathlib

import pyarrow as pa

from ingest_service.check.content import UnreadableFileError, opened
from ingest_service.registry.compare import compare, file_columns


@dataclasses.dataclass(frozen=True, slots=True)
class TypeMismatch:
    """A field of another type than expected."""

    field: str
    expected: str
    actual: str


@dataclasses.dataclass(frozen=True, slots=True)
class SchemaReport:
    """The result of LAKE section 8; extra fields are allowed."""

    is_valid: bool
    missing_fields: tuple[str, ...]
    extra_fields: tuple[str, ...]
    type_mismatches: tuple[TypeMismatch, ...]
    errors: tuple[str, ...]


def validate_schema(file: pathlib.Path, expected: pa.Schema) -> SchemaReport:
    """Compares the file's fields with the expected ones by name and type. A file that cannot be read is not valid."""
    try:
        with opened(file) as parquet:
            actual = file_columns(parquet.schema_arrow)
    except UnreadableFileError as error:
        return SchemaReport(False, (), (), (), (f"{file}: {error}",))
    found = compare(file_columns(expected), actual)
    mismatches = tuple(
        TypeMismatch(each.field, each.old_type, each.new_type) for each in found.changed_fields
    )
    errors = [f"missing field {name}" for name in found.removed_fields]
    errors += [f"field {each.field} is {each.actual}, expected {each.expected}" for each in mismatches]
    return SchemaReport(not errors, found.removed_fields, found.added_fields, mismatches, tuple(errors))
