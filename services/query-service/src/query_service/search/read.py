"""Reading live files with DuckDB: which of them are whole, and starting over when one is gone or broken.

Everything here blocks; `query_service.ask` runs it in threads.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import duckdb
import pyarrow as pa

from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.logs import get_logger
from query_service.search import sql
from query_service.search.files import Files
from query_service.search.handle import LakeHandle, Snapshot
from query_service.search.intact import FileCheck
from query_service.search.layout import Layout, Types, layout, same_columns
from query_service.search.listed import Partition, Strangers
from query_service.search.request import MAX_PAGE_ROWS, refusal
from query_service.search.tables import ARCHIVE

log = get_logger(__name__)
T = TypeVar("T")

BATCH_ROWS = 8_192

_REFRESHES = 3
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows in order, and how they were found.

    `total` counts all matching rows, not only those of the page; `files_opened` the data files that
    were read for it; `warnings` names files that should have been and could not (LAKE-90).
    """

    total: int
    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    warnings: tuple[str, ...]
    files_opened: int


@dataclass(frozen=True, slots=True)
class View:
    """The whole files of a pruned list, how they are read as one table, and what to say about the others.

    `kinds` are the columns of each file, None where all have those of the first version.
    """

    files: Files
    warnings: tuple[str, ...]
    layout: Layout
    kinds: dict[str, Types] | None = None
    internal: tuple[str, ...] = ()

    def columns(self, asked: tuple[str, ...]) -> tuple[str, ...]:
        """The columns asked for; all that are known when none is named. Raises `ServiceError` for an unknown one."""
        for name in asked:
            if name in self.internal or self.layout.schema.get_field_index(name) < 0:
                raise refusal("columns", f"unknown column {name[:64]!r}")
        return asked or tuple(name for name in self.layout.schema.names if name not in self.internal)

    def schema(self, columns: tuple[str, ...]) -> pa.Schema:
        """The Arrow schema of these columns, in the order given."""
        return pa.schema([self.layout.schema.field(name) for name in columns])


Prune = Callable[[Files], Files]
Where = Callable[[Path, Files], Iterable[Partition]]
"""In which partitions of a table a question looks for files that are not the lake's, given its pruned files."""


def connect(*, threads: int, memory_limit: str, temp_directory: Path) -> duckdb.DuckDBPyConnection:
    """The engine of one process; each query takes its own cursor from it.

    It never loads extensions from outside, sorts in `temp_directory` what exceeds `memory_limit`, and
    reads wide columns of a page's rows only.
    """
    connection = duckdb.connect(
        config={
            "threads": threads,
            "memory_limit": memory_limit,
            "temp_directory": str(temp_directory),
            "autoinstall_known_extensions": False,
            "parquet_metadata_cache": True,
            "late_materialization_max_rows": MAX_PAGE_ROWS,
        }
    )
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    return connection


class Reader:
    """Gives questions the files to read and runs their SQL. Thread-safe; owns neither handle nor connection."""

    def __init__(
        self,
        handle: LakeHandle,
        connection: duckdb.DuckDBPyConnection,
        base: pa.Schema,
        internal: tuple[str, ...] = (),
    ) -> None:
        """`base`: the columns of the first version of the dataset; `internal`: those that are never asked for."""
        self._handle = handle
        self._connection = connection
        self._base = base
        self._internal = internal
        self._check = FileCheck(handle.tables)
        self._strangers = Strangers()

    def answered(self, prune: Prune, answer: Callable[[View], T], where: Where) -> T:
        """What `answer` makes of the files that `prune` leaves; asked again when a file turns out gone or broken."""
        for _ in range(_ATTEMPTS):
            view = self.view(prune, where)
            try:
                return answer(view)
            except duckdb.OutOfMemoryException as error:
                raise ServiceError(
                    ErrorCode.UNAVAILABLE,
                    "the query needs more memory than it may use: ask for less at a time",
                ) from error
            except (duckdb.Error, pa.ArrowException, OSError) as error:
                if not self.learnt(view.files, str(error)):
                    log.exception("query_failed")
                    raise ServiceError(ErrorCode.INTERNAL, "the query failed") from error
        raise ServiceError(ErrorCode.UNAVAILABLE, "the lake's files change too fast to be read now")

    def view(self, prune: Prune, where: Where) -> View:
        """The files to read now. One that is gone was compacted and vacuumed meanwhile: the next
        version of the table names its successor. One that stays gone is reported like a broken one."""
        snapshot = self._handle.snapshot()
        for _ in range(_REFRESHES):
            pruned = prune(snapshot.files)
            checked = self._check.check(pruned)
            if not checked.missing:
                break
            snapshot = self._handle.refresh()
        gone = tuple(f"{path} is missing; its rows are left out" for path in checked.missing)
        strange = self._strange(where, pruned, snapshot.files)
        return self._laid_out(snapshot, checked.whole, snapshot.warnings + checked.warnings + gone + strange)

    def source(self, view: View, files: Files) -> sql.Source:
        """These of the view's files as a table. Rows that the archive has as well are left out of those of the lake."""
        source = self.plain_source(view, files)
        doubtful, deciding = files.doubtful(), view.files.deciding()
        if not len(doubtful) or not len(deciding):
            return source
        return sql.not_archived(source, doubtful.tolist(), self.plain_source(view, deciding))

    def plain_source(self, view: View, files: Files) -> sql.Source:
        """These of the view's files as a table, every row of theirs."""
        paths = self._paths(files)
        if view.kinds is None:
            return sql.uniform(paths, view.layout.schema)
        return sql.mixed(paths, [view.kinds[path] for path in files.paths], view.layout)

    def raw(self, query: sql.Query) -> Iterator[pa.RecordBatch]:
        """The batches that DuckDB answers."""
        with self._connection.cursor() as cursor:
            relation = cursor.sql(query.text, params=dict(query.parameters))
            if query.small:  # half a millisecond cheaper than a stream
                yield from relation.to_arrow_table().to_batches(BATCH_ROWS)
            else:
                yield from relation.to_arrow_reader(BATCH_ROWS)

    def learnt(self, files: Files, message: str) -> bool:
        """Whether looking at the files after a failure shows why: one is gone or cannot be decoded.

        The file that the engine names is tried first; reading all of them is the last resort.
        """
        if len(self._check.check(files).whole) < len(files):
            return True
        named = [path for path in files.paths if str(self._handle.tables.locate(path)) in message]
        return any(self._condemned(path) for path in named or files.paths)

    def _paths(self, files: Files) -> list[str]:
        return [str(self._handle.tables.locate(path)) for path in files.paths]

    def _strange(self, where: Where, pruned: Files, live: Files) -> tuple[str, ...]:
        """What to say about files there that no table knows; they may be rows that somebody misses."""
        tables = self._handle.tables
        found = list(self._strangers.among(tables.hot, where(tables.hot, pruned)))
        if tables.archive is not None:
            found += self._strangers.among(tables.archive, where(tables.archive, pruned), prefix=ARCHIVE)
        if not found:
            return ()
        known = frozenset(live.paths)
        return tuple(f"{name} {fault}; it is not read" for name, fault in found if name not in known)

    def _laid_out(self, snapshot: Snapshot, files: Files, warnings: tuple[str, ...]) -> View:
        if all(columns is not None and same_columns(columns, self._base) for columns in snapshot.columns):
            return View(
                files, warnings, Layout(self._base, frozenset(), uniform=True), internal=self._internal
            )
        kinds: dict[str, Types] = {}
        whole: list[int] = []
        for position, path in enumerate(files.paths):
            types = self._check.types(path)
            if types is None:
                warnings += (f"{path} cannot be decoded; its rows are left out",)
            else:
                kinds[path] = types
                whole.append(position)
        promised = [columns for columns in snapshot.columns if columns is not None]
        laid = layout(self._base, [*kinds.values(), *promised])
        kept = files if len(whole) == len(files) else files.take(whole)
        return View(kept, warnings, laid, None if laid.uniform else kinds, self._internal)

    def _condemned(self, path: str) -> bool:
        try:
            for _ in self.raw(sql.everything([str(self._handle.tables.locate(path))])):
                pass
        except (duckdb.Error, pa.ArrowException, OSError):
            log.warning("data_file_undecodable", file=path)
            self._check.condemn(path)
            return True
        return False


def begun(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same batches with the first already computed, so that its failure is raised here; a later
    failure is raised as a `ServiceError`."""
    first = next(batches, None)
    return _continued(first, batches)


def _continued(first: pa.RecordBatch | None, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    if first is None:
        return
    yield first
    try:
        yield from rest
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        log.exception("stream_broken_off")
        raise ServiceError(ErrorCode.INTERNAL, "the answer broke off: ask again") from error
