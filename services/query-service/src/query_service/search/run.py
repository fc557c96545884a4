"""Asking the lake: plan over the live files, run on DuckDB, start over when a file is gone or broken.

Everything here blocks; `query_service.ask` runs it in threads.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.logs import get_logger
from query_service.search import sql
from query_service.search.columns import schema_of
from query_service.search.files import (
    Files,
    Ints,
    Part,
    known_counts,
    lie_within,
    of_days,
    of_ids,
    ordered_parts,
)
from query_service.search.handle import LakeHandle
from query_service.search.intact import FileCheck
from query_service.search.request import MAX_PAGE_ROWS, Filter, Lookup, Search
from query_service.search.shape import shaped

log = get_logger(__name__)
T = TypeVar("T")

BATCH_ROWS = 8_192
PART_ROWS = 65_536
"""Rows sorted at a time when a long answer is streamed."""

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
class _View:
    """The whole files of a pruned list, and what to say about the others."""

    files: Files
    warnings: tuple[str, ...]


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


class Searcher:
    """Answers checked requests. Thread-safe; owns neither the handle nor the connection."""

    def __init__(self, handle: LakeHandle, connection: duckdb.DuckDBPyConnection) -> None:
        self._handle = handle
        self._connection = connection
        self._check = FileCheck(handle.table)

    def search(self, search: Search) -> Answer:
        """The rows of this search in order, streamed.

        Files found broken or gone before the first rows are out are dealt with: the plan starts over.
        An iterator that has begun raises `ServiceError` instead of giving an incomplete answer.
        """
        schema = schema_of(search.columns)
        if search.filter.matches_nothing:
            return Answer(0, schema, iter(()), (), 0)

        def answer(view: _View) -> Answer:
            counts, opened = self._counts(view.files, search.filter)
            parts = ordered_parts(view.files, counts, search.offset, search.limit, PART_ROWS)
            opened.update(int(i) for part in parts for i in part.files)
            batches = self._rows(view.files, parts, search)
            return Answer(int(counts.sum()), schema, _begun(batches), view.warnings, len(opened))

        return self._answered(lambda files: of_days(files, search.filter.start, search.filter.end), answer)

    def count(self, condition: Filter) -> Answer:
        """How many rows match, without rows."""
        if condition.matches_nothing:
            return Answer(0, pa.schema([]), iter(()), (), 0)

        def answer(view: _View) -> Answer:
            known = self._known_counts(view.files, condition)
            if known is not None:
                return Answer(int(known.sum()), pa.schema([]), iter(()), view.warnings, 0)
            inside = lie_within(view.files, condition.start, condition.end)
            batches = self._raw(sql.count(condition, inside=inside), view.files)
            total = sum(batch.column(0)[0].as_py() for batch in batches)
            return Answer(total, pa.schema([]), iter(()), view.warnings, len(view.files))

        return self._answered(lambda files: of_days(files, condition.start, condition.end), answer)

    def lookup(self, lookup: Lookup) -> Answer:
        """The rows of these msg_ids, in order of time; unknown ids are absent."""
        schema = schema_of(lookup.columns)

        def answer(view: _View) -> Answer:
            found = list(self._raw(sql.by_ids(lookup), view.files))
            if not found:
                return Answer(0, schema, iter(()), view.warnings, len(view.files))
            rows = once_each(pa.Table.from_batches(found)).select(lookup.columns)
            batches = [shaped(batch, schema, unmask=lookup.unmask) for batch in rows.to_batches()]
            return Answer(rows.num_rows, schema, iter(batches), view.warnings, len(view.files))

        if not lookup.msg_ids:
            return Answer(0, schema, iter(()), (), 0)
        return self._answered(lambda files: of_ids(files, lookup.msg_ids), answer)

    def _known_counts(self, files: Files, condition: Filter) -> Ints | None:
        return None if condition.any_of else known_counts(files, condition.start, condition.end)

    def _counts(self, files: Files, condition: Filter) -> tuple[Ints, set[int]]:
        """Matching rows of each file, and which files were opened to learn it."""
        known = self._known_counts(files, condition)
        if known is not None:
            return known, set()
        counts = np.zeros(len(files), dtype=np.int64)
        inside = lie_within(files, condition.start, condition.end)
        for batch in self._raw(sql.count_per_file(condition, inside=inside), files):
            counts[batch.column(0).to_numpy().astype(np.int64)] = batch.column(1).to_numpy()
        return counts, set(range(len(files)))

    def _rows(self, files: Files, parts: list[Part], search: Search) -> Iterator[pa.RecordBatch]:
        schema = schema_of(search.columns)
        inside = lie_within(files, search.filter.start, search.filter.end)
        for part in parts:
            query = sql.rows(
                search.filter, search.columns, offset=part.offset, limit=part.limit, inside=inside
            )
            yield from self._batches(query, files.take(part.files), schema, unmask=search.unmask)

    def _batches(
        self, query: sql.Query, files: Files, schema: pa.Schema, *, unmask: bool
    ) -> Iterator[pa.RecordBatch]:
        for batch in self._raw(query, files):
            yield shaped(batch, schema, unmask=unmask)

    def _raw(self, query: sql.Query, files: Files) -> Iterator[pa.RecordBatch]:
        if not len(files):
            return
        paths = [str(self._handle.table / path) for path in files.paths]
        with self._connection.cursor() as cursor:
            relation = cursor.sql(query.text, params={**query.parameters, "files": paths})
            if query.small:  # half a millisecond cheaper than a stream
                yield from relation.to_arrow_table().to_batches(BATCH_ROWS)
            else:
                yield from relation.to_arrow_reader(BATCH_ROWS)

    def _answered(self, prune: Callable[[Files], Files], answer: Callable[[_View], T]) -> T:
        for _ in range(_ATTEMPTS):
            view = self._view(prune)
            try:
                return answer(view)
            except duckdb.OutOfMemoryException as error:
                raise ServiceError(
                    ErrorCode.UNAVAILABLE,
                    "the query needs more memory than it may use: ask for less at a time",
                ) from error
            except (duckdb.Error, pa.ArrowException, OSError) as error:
                if not self._learnt(view.files, str(error)):
                    log.exception("query_failed")
                    raise ServiceError(ErrorCode.INTERNAL, "the query failed") from error
        raise ServiceError(ErrorCode.UNAVAILABLE, "the lake's files change too fast to be read now")

    def _view(self, prune: Callable[[Files], Files]) -> _View:
        """The files to read now. One that is gone was compacted and vacuumed meanwhile: the next
        version of the table names its successor. One that stays gone is reported like a broken one."""
        snapshot = self._handle.snapshot()
        for _ in range(_REFRESHES):
            checked = self._check.check(prune(snapshot.files))
            if not checked.missing:
                return _View(checked.whole, checked.warnings)
            snapshot = self._handle.refresh()
        gone = tuple(f"{path} is missing; its rows are left out" for path in checked.missing)
        return _View(checked.whole, checked.warnings + gone)

    def _learnt(self, files: Files, message: str) -> bool:
        """Whether looking at the files after a failure shows why: one is gone or cannot be decoded.

        The file that the engine names is tried first; reading all of them is the last resort.
        """
        if len(self._check.check(files).whole) < len(files):
            return True
        named = [path for path in files.paths if path in message]
        return any(self._condemned(path, files) for path in named or files.paths)

    def _condemned(self, path: str, files: Files) -> bool:
        only = files.take([files.paths.index(path)])
        try:
            for _ in self._raw(sql.everything(), only):
                pass
        except (duckdb.Error, pa.ArrowException, OSError):
            log.warning("data_file_undecodable", file=path)
            self._check.condemn(path)
            return True
        return False


def once_each(rows: pa.Table) -> pa.Table:
    """Rows of a lookup in order of time, then msg_id; should an id ever stand twice, the first stored (LAKE-102)."""
    if rows.num_rows < 2:
        return rows
    order = [(f"{sql.KEY_PREFIX}{name}", "ascending") for name in sql.LOOKUP_ORDER]
    ids = f"{sql.KEY_PREFIX}msg_id"
    if pc.count_distinct(rows[ids]).as_py() < rows.num_rows:
        stored = rows.append_column("row", pa.array(range(rows.num_rows))).sort_by(order[2:])
        first = stored.group_by(ids, use_threads=False).aggregate([("row", "first")])["row_first"]
        rows = rows.take(first)
    return rows.sort_by(order)


def _begun(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
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
