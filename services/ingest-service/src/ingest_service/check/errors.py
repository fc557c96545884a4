"""How many lines could not become a row, and why (LAKE-91)."""

from __future__ import annotations

import collections
import dataclasses
import pathlib

import pyarrow as pa

from ingest_service.check.content import UnreadableFileError, batches, opened
from ingest_service.check.files import Listing, dataset_directory, existing_directory
from ingest_service.errors import storage_errors

_COLUMNS = ("error_type", "reason")


@dataclasses.dataclass(frozen=True, slots=True)
class ErrorCount:
    """Dead letters of one error_type and reason."""

    error_type: str
    reason: str
    count: int


@dataclasses.dataclass(frozen=True, slots=True)
class ErrorReport:
    """Most frequent first. `by_type` sums them; `unreadable` names files that could not be looked into."""

    by_type: dict[str, int]
    counts: tuple[ErrorCount, ...]
    unreadable: tuple[str, ...]


def error_counts(root: pathlib.Path) -> ErrorReport:
    """Counts of the dead letters below `root`, by error_type and reason.

    Raises:
        NotFoundError: there is no such root.
    """
    with storage_errors("error_counts", root):
        existing_directory(root, "parquet_root")
        table = dataset_directory(root, "dead_letters")
        found = Listing(table).below(table) if table.is_dir() else None
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    problems = [f"{path}: is missing" for path in found.missing] if found else []
    for path in found.data if found else ():
        try:
            with opened(path) as file:
                for batch in batches(file, _COLUMNS):
                    grouped = pa.table(batch).group_by(_COLUMNS).aggregate([([], "count_all")])
                    for row in grouped.to_pylist():
                        counts[row["error_type"], row["reason"]] += row["count_all"]
        except UnreadableFileError as error:
            problems.append(f"{path}: {error}")
    by_type: collections.Counter[str] = collections.Counter()
    for (error_type, _), count in counts.items():
        by_type[error_type] += count
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ErrorReport(
        by_type=dict(sorted(by_type.items(), key=lambda item: (-item[1], item[0]))),
        counts=tuple(ErrorCount(*key, count) for key, count in ordered),
        unreadable=tuple(problems),
    )
