"""Which files of a dataset are data, and which lie there without being any (LAKE-1, LAKE-90).

The table's log says which files hold its rows. Whatever else a writer of ours leaves behind, a file that a
compaction replaced or one that lost the race for its commit, is named like a data file and whole: it is neither
read nor wrong. Everything else is a stranger, reported and left alone. A tree that has no log is read as the
Parquet files in it.
"""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import re
import urllib.parse
from collections.abc import Iterator
from typing import Final

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from ingest_service.errors import BadArgumentError, NotFoundError, StorageIoError
from millrace_schemas import datasets

_PARTITION: Final = re.compile(r"year=(\d{4})/month=(\d{2})/day=(\d{2})")
_WRITTEN: Final = re.compile(r"part-\d+-[0-9a-f-]{36}-c\d+(\.\w+)?\.parquet")
_STAGED: Final = re.compile(r".+#\d+")
_LEVELS: Final = 3


def may_be_data(name: str) -> bool:
    """Whether a file or directory of this name may be read at all (LAKE-1)."""
    return not name.startswith((".", "_")) and not name.endswith((".tmp", ".lock"))


@dataclasses.dataclass(frozen=True, slots=True)
class Stranger:
    """A file that is no data, and why it does not belong there."""

    path: pathlib.Path
    fault: str


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """Files below a directory: `data` in order of their names, which may be damaged or, `missing`, gone."""

    data: tuple[pathlib.Path, ...]
    missing: tuple[pathlib.Path, ...]
    strangers: tuple[Stranger, ...]
    logged: bool


def dataset_directory(root: pathlib.Path, dataset: str) -> pathlib.Path:
    """The directory of a dataset below a lake or archive; `root` itself where it is one."""
    if (root / "_delta_log").is_dir() or next(root.glob("year=*"), None) is not None:
        return root
    return root / dataset


def partition_day(path: pathlib.Path) -> datetime.date | None:
    """The day that the names of these directories give; None where they give none."""
    match = _PARTITION.fullmatch("/".join(path.parts[-_LEVELS:]))
    try:
        return datetime.date(*map(int, match.groups())) if match else None
    except ValueError:
        return None


def dataset_of(partition: pathlib.Path) -> str | None:
    """The dataset whose directory the partition lies in, by its name."""
    names = partition.parts[:-_LEVELS]
    return names[-1] if names and names[-1] in datasets.NAMES else None


def partitions(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """The partitions of a dataset, in order of their days."""
    for path in sorted(directory.glob("year=*/month=*/day=*")):
        if path.is_dir() and all(may_be_data(part) for part in path.parts[-_LEVELS:]):
            yield path


class Listing:
    """The data files of a dataset as its log says, looked up once for all of its partitions.

    Raises StorageIoError when there is a log that cannot be read.
    """

    def __init__(self, table: pathlib.Path) -> None:
        self.table = table
        self._live: frozenset[str] | None = None
        if (table / "_delta_log").is_dir():
            try:
                uris = DeltaTable(str(table)).get_add_actions().column("path").to_pylist()
            except (DeltaError, OSError) as error:
                raise StorageIoError(
                    f"{table}: the table's log cannot be read: {error}", source=table
                ) from error
            self._live = frozenset(urllib.parse.unquote(uri) for uri in uris)

    @classmethod
    def around(cls, path: pathlib.Path) -> Listing:
        """That of the dataset which `path`, a partition or a directory in it, lies in."""
        for directory in (path, *path.parents[:_LEVELS]):
            if (directory / "_delta_log").is_dir():
                return cls(directory)
        return cls(path)

    def below(self, directory: pathlib.Path) -> Found:
        """The files at any depth below a directory of the dataset, itself included."""
        data: list[pathlib.Path] = []
        strangers: list[Stranger] = []
        for path in sorted(_files(directory)):
            if self._is_data(path):
                data.append(path)
            elif fault := _fault(path):
                strangers.append(Stranger(path, fault))
        return Found(tuple(data), self._gone(directory, data), tuple(strangers), self._live is not None)

    def _is_data(self, path: pathlib.Path) -> bool:
        if self._live is None:
            return path.suffix == ".parquet"
        return path.relative_to(self.table).as_posix() in self._live

    def _gone(self, directory: pathlib.Path, data: list[pathlib.Path]) -> tuple[pathlib.Path, ...]:
        if self._live is None:
            return ()
        here = {path.relative_to(self.table).as_posix() for path in data}
        prefix = "" if directory == self.table else f"{directory.relative_to(self.table).as_posix()}/"
        return tuple(
            self.table / name for name in sorted(self._live) if name.startswith(prefix) and name not in here
        )


def existing_directory(path: pathlib.Path, what: str) -> None:
    """Raises NotFoundError or BadArgumentError where there is no such directory."""
    if not path.exists():
        raise NotFoundError(f"{what}: there is no {path}", source=path)
    if not path.is_dir():
        raise BadArgumentError(f"{what}: {path} is not a directory", source=path)


def _files(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    for path in directory.iterdir():
        if not may_be_data(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        else:
            yield path


def _fault(path: pathlib.Path) -> str:
    """What is wrong with a file that is no data; empty for what our writers leave behind."""
    if _STAGED.fullmatch(path.name):
        return ""
    if _is_empty(path):
        return "is empty"
    return "" if _WRITTEN.fullmatch(path.name) else "is not a file of the lake"


def _is_empty(path: pathlib.Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size == 0
    except OSError:
        return False
