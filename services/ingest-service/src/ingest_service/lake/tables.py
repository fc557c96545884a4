"""The four tables of the lake, those of them that have an archive, and how their files are written."""

from __future__ import annotations

import contextlib
import pathlib
from typing import Final, Literal, get_args

from deltalake import ColumnProperties, DeltaTable, WriterProperties
from deltalake.exceptions import DeltaError, TableNotFoundError

from millrace_schemas import datasets

TABLES: Final = datasets.NAMES
"""messages, contacts, other, dead_letters."""

ARCHIVED: Final = tuple(name for name in TABLES if datasets.load(name).archive_after_days is not None)
"""Those whose days move to the archive when they are old enough (LAKE-110)."""

ARCHIVE_LEVEL: Final = 19
"""Zstd level of archived files, unless another one is asked for."""

# A reader of one row decompresses a row group of each column, and Zstd gains nothing from larger ones.
_ARCHIVE_GROUP_ROWS: Final = 131_072

CONFIGURATION: Final = {
    # A checkpoint each 100 commits keeps opening a table at some 15 ms; its log is kept for a day.
    "delta.checkpointInterval": "100",
    "delta.logRetentionDuration": "interval 1 days",
    # Tombstones of compacted files stay in checkpoints this long; the default week of them is most of a checkpoint.
    "delta.deletedFileRetentionDuration": "interval 1 days",
    # msg_id leads the schema, so its minima and maxima are always among the collected statistics.
    "delta.dataSkippingNumIndexedCols": "32",
}


Compression = Literal["snappy", "zstd", "gzip"]
COMPRESSIONS: Final = get_args(Compression)
_PARQUET_NAMES: Final[dict[Compression, Literal["SNAPPY", "ZSTD", "GZIP"]]] = {
    "snappy": "SNAPPY",
    "zstd": "ZSTD",
    "gzip": "GZIP",
}


def writer_properties(dataset: str, compression: Compression = "snappy") -> WriterProperties:
    """Statistics, and dictionaries only where they help (LAKE-69)."""
    return WriterProperties(compression=_PARQUET_NAMES[compression], column_properties=_columns(dataset))


def archive_properties(dataset: str, level: int = ARCHIVE_LEVEL) -> WriterProperties:
    """The same with Zstd of that level (LAKE-110)."""
    return WriterProperties(
        compression="ZSTD",
        compression_level=level,
        max_row_group_size=_ARCHIVE_GROUP_ROWS,
        column_properties=_columns(dataset),
    )


def _columns(dataset: str) -> dict[str, ColumnProperties]:
    return {
        column.name: ColumnProperties(dictionary_enabled=column.dictionary)
        for column in datasets.load(dataset).columns
    }


WRITER_PROPERTIES: Final = {name: writer_properties(name) for name in TABLES}


class Lake:
    """The tables below one directory (`parquet/`); new files are written with `compression`.

    `archive` is the directory of the archived ones, by default `archive` beside it.
    """

    def __init__(
        self,
        root: pathlib.Path,
        compression: Compression = "snappy",
        *,
        archive: pathlib.Path | None = None,
    ) -> None:
        self.root = root
        self.archive_root = archive or root.parent / "archive"
        self._compression = compression

    @property
    def archive(self) -> Lake:
        """The archived tables; what is archived stays there."""
        return Lake(self.archive_root, archive=self.archive_root)

    def properties(self, dataset: str) -> WriterProperties:
        """How files of a table are written."""
        return writer_properties(dataset, self._compression)

    def path(self, dataset: str) -> pathlib.Path:
        """Directory of a table."""
        return self.root / dataset

    def exists(self, dataset: str) -> bool:
        """Whether the table was ever created."""
        return DeltaTable.is_deltatable(str(self.path(dataset)))

    def open(self, dataset: str) -> DeltaTable:
        """A fresh handle on a table; creates it when it is not there yet.

        Several processes may call this at once: one creates the table, the others open it.
        """
        path = str(self.path(dataset))
        with contextlib.suppress(TableNotFoundError):
            return DeltaTable(path)
        schema = datasets.load(dataset)
        # A DeltaError here is another process that created the table between our look and our attempt.
        with contextlib.suppress(DeltaError):
            return DeltaTable.create(
                path,
                schema.arrow_schema(),
                mode="error",
                partition_by=list(datasets.PARTITION_COLUMNS),
                name=dataset,
                description=schema.description,
                configuration=CONFIGURATION,
            )
        return DeltaTable(path)
