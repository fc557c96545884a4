"""The datasets of the lake as reviewed data: one YAML file each, with the exact schema."""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    import pyarrow as pa

NAMES = ("messages", "contacts", "other", "dead_letters")
PARTITION_COLUMNS = ("year", "month", "day")


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """One stored column: Arrow type name (`timestamp` is microseconds, UTC), and whether Parquet keeps a dictionary."""

    name: str
    type: str
    nullable: bool
    meaning: str
    dictionary: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset: its key, its event time, how it is partitioned and the columns of its files.

    `archive_after_days` is the age from which its days belong in the archive; None: they stay.
    """

    name: str
    description: str
    schema_version: int
    key: tuple[str, ...]
    event_time: str
    partition_day_of: str
    columns: tuple[Column, ...]
    archive_after_days: int | None = None

    def arrow_schema(self) -> pa.Schema:
        """Columns of the files followed by the directory keys year, month, day (two-digit strings)."""
        import pyarrow as pa

        types = {
            "string": pa.string(),
            "int8": pa.int8(),
            "int32": pa.int32(),
            "int64": pa.int64(),
            "timestamp": pa.timestamp("us", "UTC"),
        }
        fields = [pa.field(column.name, types[column.type], column.nullable) for column in self.columns]
        return pa.schema(fields + [pa.field(name, pa.string(), nullable=False) for name in PARTITION_COLUMNS])


@functools.cache
def load(name: str) -> Dataset:
    """The dataset of that name; KeyError for an unknown one."""
    if name not in NAMES:
        raise KeyError(f"no dataset {name!r}; there are {', '.join(NAMES)}")
    text = importlib.resources.files(__name__).joinpath(f"{name}.yaml").read_text("utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    return Dataset(
        name=data["name"],
        description=data["description"],
        schema_version=data["schema_version"],
        key=tuple(data["key"]),
        event_time=data["event_time"],
        partition_day_of=data["partition_by"]["day_of"],
        columns=tuple(Column(**column) for column in data["columns"]),
        archive_after_days=data["retention"].get("archive_after_days"),
    )
