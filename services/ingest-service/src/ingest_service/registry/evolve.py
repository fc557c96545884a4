"""Bringing a table to a newer version of its schema (LAKE-82, LAKE-84): columns are added, nothing is lost.

A version that removes or changes a column is no change of the table: its rows would have to be rewritten with
values lost (LAKE-83). It is refused.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Final

import pyarrow as pa
from deltalake import DeltaTable, PostCommitHookProperties, Schema, WriterProperties

from ingest_service.check.content import UnreadableFileError, opened
from ingest_service.errors import BadArgumentError
from ingest_service.lake.durable import sync_file_system
from ingest_service.registry.compare import compare, file_columns
from millrace_runtime.logs import get_logger
from millrace_schemas import datasets

log = get_logger(__name__)

Day = tuple[str, ...]
"""Year, month and day as the directories spell them."""

# One file of a partition: none is too large to be rewritten with the others.
_WHOLE: Final = 2**40
_HOOKS: Final = PostCommitHookProperties(cleanup_expired_logs=False)


def widen(table: DeltaTable, schema: pa.Schema) -> tuple[str, ...]:
    """Adds the columns that the table lacks, in a commit of its own; their names. Files stay as they are.

    Readers answer NULL for them, or what `extra_fields` has. Several processes may do this at once: one adds, the
    others see a conflict and find nothing left to add.

    Raises:
        BadArgumentError: the schema lacks a column of the table or has another type for one, or a new one is not
            nullable, which the older rows could not have.
        CommitFailedError: another process changed the table meanwhile.
    """
    stored = pa.schema(table.schema().to_arrow())
    found = compare(file_columns(stored), file_columns(schema))
    if not found.is_compatible:
        raise BadArgumentError(f"schema: not compatible with the table: {'; '.join(found.errors)}")
    fields = [schema.field(name) for name in schema.names if name in found.added_fields]
    required = [field.name for field in fields if not field.nullable]
    if required:
        raise BadArgumentError(f"schema: new columns have to be nullable: {', '.join(required)}")
    if fields:
        table.alter.add_columns(
            Schema.from_arrow(pa.schema(fields)).fields, post_commithook_properties=_HOOKS
        )
        log.info("columns_added", columns=[field.name for field in fields])
    return tuple(field.name for field in fields)


def mixed_partitions(table: DeltaTable, path: pathlib.Path) -> Mapping[Day, tuple[int, int]]:
    """The partitions whose files do not all have the same columns: how many versions, how many files.

    Opens every file of the table. One that cannot be read is left to the checks.
    """
    actions = pa.table(table.get_add_actions(flatten=True))
    names = ["path", *(f"partition.{name}" for name in datasets.PARTITION_COLUMNS)]
    versions: dict[Day, set[frozenset[tuple[str, str]]]] = {}
    files: dict[Day, int] = {}
    for name, *day in zip(*(actions[each].to_pylist() for each in names), strict=True):
        try:
            with opened(path / name) as file:
                columns = file_columns(file.schema_arrow)
        except UnreadableFileError as error:
            log.warning("data_file_unreadable", path=name, why=str(error))
            continue
        at = tuple(day)
        files[at] = files.get(at, 0) + 1
        versions.setdefault(at, set()).add(frozenset((field.name, str(field.type)) for field in columns))
    return {day: (len(found), files[day]) for day, found in versions.items() if len(found) > 1}


def unify(table: DeltaTable, path: pathlib.Path, properties: WriterProperties) -> tuple[Day, ...]:
    """Rewrites the partitions whose files are of several versions with the columns of the table, one commit each;
    which those were. Rows are the same, appends may go on.

    Raises:
        CommitFailedError: the partition's files were rewritten or removed meanwhile; what was done before stays.
    """
    done = []
    for day in mixed_partitions(table, path):
        table.optimize.compact(
            partition_filters=[
                (name, "=", value) for name, value in zip(datasets.PARTITION_COLUMNS, day, strict=True)
            ],
            target_size=_WHOLE,
            writer_properties=properties,
            post_commithook_properties=_HOOKS,
        )
        sync_file_system(path)
        log.info("partition_rewritten_to_newer_schema", table=path.name, partition="-".join(day))
        done.append(day)
    return tuple(done)
