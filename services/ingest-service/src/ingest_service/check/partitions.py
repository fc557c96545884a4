"""validate_partition: whether the files of one day are whole, alike and of that day."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from ingest_service.check.content import UnreadableFileError, batches, opened
from ingest_service.check.files import Found, Listing, dataset_of, partition_day, partitions
from ingest_service.errors import storage_errors
from ingest_service.registry.compare import compare, file_columns
from millrace_schemas import datasets

REQUIRED: Final = {
    "messages": (
        "msg_id",
        "from_username",
        "to_username",
        "create_time",
        "is_chatroom_msg",
        "guid",
        "notify_type",
    ),
    "contacts": ("username", "guid", "notify_type", "ingestion_time"),
    "other": ("notify_type", "payload", "ingestion_time"),
    "dead_letters": ("error_type", "reason", "ingestion_time"),
}
"""What must stand in every row (LAKE 4.1, 4.2)."""


@dataclasses.dataclass(frozen=True, slots=True)
class PartitionReport:
    """The result of LAKE section 8. Bytes and files are of all data files, records of those that can be read."""

    is_valid: bool
    file_count: int
    total_records: int
    total_size_bytes: int
    errors: tuple[str, ...]


def validate_partition(path: pathlib.Path, listing: Listing | None = None) -> PartitionReport:
    """Looks at every file of the partition and reads all of it.

    `listing`: that of its dataset, where many partitions are looked at.
    """
    if not path.exists():
        return _invalid(f"{path}: there is no such path")
    if not path.is_dir():
        return _invalid(f"{path}: is not a directory")
    with storage_errors("validate_partition", path):
        found = (listing or Listing.around(path)).below(path)
        return _Validation(path, found).report()


def validate_dataset(table: pathlib.Path) -> Iterator[tuple[pathlib.Path, PartitionReport]]:
    """The report of each partition of a dataset, in order of their days; last, where there are any, of the files that
    lie in no partition. A day of which the table's log has no row, since it was archived, is none."""
    with storage_errors("validate_dataset", table):
        listing = Listing(table)
    looked_at = list(partitions(table))
    for path in looked_at:
        if not _is_left_over(path, listing):
            yield path, validate_partition(path, listing)
    with storage_errors("validate_dataset", table):
        found = listing.below(table)
    days = frozenset(looked_at)
    loose = [
        f"{each.path.relative_to(table)}: {each.fault}"
        for each in found.strangers
        if each.path.parent not in days
    ]
    loose += [f"{path.relative_to(table)}: is missing" for path in found.missing if path.parent not in days]
    loose += [
        f"{path.relative_to(table)}: lies in no partition" for path in found.data if path.parent not in days
    ]
    if loose:
        yield table, PartitionReport(False, 0, 0, 0, tuple(loose))


def _is_left_over(path: pathlib.Path, listing: Listing) -> bool:
    """Whether the directory has nothing, or what the vacuum will remove."""
    with storage_errors("validate_dataset", path):
        found = listing.below(path)
    return found.logged and not (found.data or found.missing or found.strangers)


def _invalid(error: str) -> PartitionReport:
    return PartitionReport(False, 0, 0, 0, (error,))


class _Validation:
    def __init__(self, path: pathlib.Path, found: Found) -> None:
        self._path = path
        self._found = found
        self._day = partition_day(path)
        self._errors: list[str] = []
        self._records = 0
        self._first: tuple[str, pa.Schema] | None = None

    def report(self) -> PartitionReport:
        if self._day is None:
            self._errors.append(f"{self._path}: its name gives no day, as year=YYYY/month=MM/day=DD does")
        if not self._found.data and not self._found.missing:
            self._errors.append(f"{self._path}: has no data file")
        for path in self._found.missing:
            self._errors.append(f"{self._name(path)}: is missing")
        for path in self._found.data:
            try:
                self._look_into(path)
            except UnreadableFileError as error:
                self._errors.append(f"{self._name(path)}: {error}")
        self._errors += [f"{self._name(each.path)}: {each.fault}" for each in self._found.strangers]
        empty = [each.path for each in self._found.strangers if each.fault == "is empty"]
        data = (*self._found.data, *empty)
        return PartitionReport(
            is_valid=not self._errors,
            file_count=len(data),
            total_records=self._records,
            total_size_bytes=sum(path.stat().st_size for path in data),
            errors=tuple(self._errors),
        )

    def _look_into(self, path: pathlib.Path) -> None:
        with opened(path) as file:
            schema = file_columns(file.schema_arrow)
            self._compare(self._name(path), schema)
            dataset = dataset_of(self._path) or _dataset_by(schema)
            looked = _Rows(dataset, schema, self._day)
            for batch in batches(file):
                looked.add(batch)
        self._records += looked.count
        self._errors += [f"{self._name(path)}: {error}" for error in looked.errors()]

    def _compare(self, name: str, schema: pa.Schema) -> None:
        if self._first is None:
            self._first = (name, schema)
            return
        found = compare(self._first[1], schema)
        if found.compatibility_type != "full":
            differences = [*found.errors, *found.warnings]
            self._errors.append(f"{name}: has another schema than {self._first[0]}: {'; '.join(differences)}")

    def _name(self, path: pathlib.Path) -> str:
        return path.relative_to(self._path).as_posix() if path.is_relative_to(self._path) else str(path)


class _Rows:
    """What is found in the rows of one file."""

    def __init__(self, dataset: str, schema: pa.Schema, day: datetime.date | None) -> None:
        self.count = 0
        self._day = day
        self._time = datasets.load(dataset).event_time
        self._absent = [name for name in REQUIRED[dataset] if name not in schema.names]
        self._required = {name: 0 for name in REQUIRED[dataset] if name in schema.names}
        self._elsewhere = 0
        self._example: datetime.datetime | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        self.count += batch.num_rows
        for name in self._required:
            self._required[name] += pc.sum(_is_empty(batch.column(name))).as_py() or 0
        if self._day is not None and self._time in self._required:
            self._compare_days(batch.column(self._time))

    def errors(self) -> list[str]:
        found = [f"required field {name} is missing" for name in self._absent]
        found += [
            f"required field {name} is empty in {count} rows"
            for name, count in self._required.items()
            if count
        ]
        if self._elsewhere:
            found.append(
                f"{self._elsewhere} rows are not of the UTC day {self._day}, such as one of {self._example}"
            )
        return found

    def _compare_days(self, times: pa.Array) -> None:
        if not pa.types.is_timestamp(times.type):
            self._elsewhere += len(times)
            self._example = None
            return
        utc = times.cast(pa.timestamp("us", "UTC"), safe=False)
        other = pc.not_equal(
            utc.cast(pa.timestamp("us"), safe=False).cast(pa.date32(), safe=False), self._day
        )
        strange = utc.filter(pc.fill_null(other, False))
        self._elsewhere += len(strange)
        if self._example is None and len(strange):
            self._example = strange[0].as_py()


def _is_empty(column: pa.Array) -> pa.Array:
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return pc.fill_null(pc.equal(pc.binary_length(column), 0), True)
    return column.is_null()


def _dataset_by(schema: pa.Schema) -> str:
    """The dataset whose columns these are, where the directories do not tell."""
    for name, column in (("contacts", "username"), ("dead_letters", "error_type"), ("other", "payload")):
        if column in schema.names:
            return name
    return "messages"
