"""How a schema relates to an earlier one (LAKE-81). Pure."""

from __future__ import annotations

import dataclasses
from typing import Final, Literal

import pyarrow as pa

from ingest_service.registry.types import type_text
from millrace_schemas import datasets

Kind = Literal["full", "backward", "breaking"]


@dataclasses.dataclass(frozen=True, slots=True)
class ChangedField:
    """A field of both whose type is another one."""

    field: str
    old_type: str
    new_type: str


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """The result of LAKE-81: a wider one is compatible with a warning, one that takes or changes fields is not."""

    is_compatible: bool
    compatibility_type: Kind
    added_fields: tuple[str, ...]
    removed_fields: tuple[str, ...]
    changed_fields: tuple[ChangedField, ...]
    warnings: tuple[str, ...]
    errors: tuple[str, ...]


def compare(old: pa.Schema | None, new: pa.Schema) -> Comparison:
    """`new` against `old`; None: there is no earlier version, so all fields are added.

    Only names and types count (LAKE-80); order and nullability do not.
    """
    before = {} if old is None else {field.name: field.type for field in old}
    after = {field.name: field.type for field in new}
    added = tuple(sorted(after.keys() - before.keys()))
    removed = tuple(sorted(before.keys() - after.keys()))
    changed = tuple(
        ChangedField(name, type_text(before[name]), type_text(after[name]))
        for name in sorted(before.keys() & after.keys())
        if before[name] != after[name]
    )
    errors = [f"field {name} was removed" for name in removed]
    errors += [f"field {each.field} changed from {each.old_type} to {each.new_type}" for each in changed]
    kind: Kind = "breaking" if errors else "backward" if added else "full"
    return Comparison(
        is_compatible=not errors,
        compatibility_type=kind,
        added_fields=added,
        removed_fields=removed,
        changed_fields=changed,
        warnings=(f"added fields: {', '.join(added)}",) if kind == "backward" else (),
        errors=tuple(errors),
    )


_NOT_STORED: Final = frozenset(datasets.PARTITION_COLUMNS)


def file_columns(schema: pa.Schema) -> pa.Schema:
    """What a file says of its content: types as a reader sees them, without names that its directories give.

    How a writer lays a column out (dictionary, large or view types) is none of its schema.
    """
    return pa.schema(
        [field.with_type(plain(field.type)) for field in schema if field.name not in _NOT_STORED]
    )


def plain(kind: pa.DataType) -> pa.DataType:
    """The type without the layout that a writer chose."""
    if pa.types.is_dictionary(kind):
        return plain(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    return kind
