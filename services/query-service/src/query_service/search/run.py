"""Asking for messages: plan over the live files, run on DuckDB."""

from collections.abc import Callable, Iterator

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from query_service.search import sql
from query_service.search.columns import SCHEMA
from query_service.search.files import (
    Ints,
    Part,
    known_counts,
    lie_within,
    of_days,
    of_ids,
    ordered_parts,
)
from query_service.search.handle import LakeHandle
from query_service.search.listed import between, of_files
from query_service.search.read import Answer, Reader, View, begun, connect
from query_service.search.request import Filter, Lookup, Search
from query_service.search.shape import shaped

__all__ = ["PART_ROWS", "Answer", "Searcher", "connect", "once_each"]

PART_ROWS = 65_536
"""Rows sorted at a time when a long answer is streamed."""


class Searcher:
    """Answers checked requests. Thread-safe; owns neither the handle nor the connection."""

    def __init__(self, handle: LakeHandle, connection: duckdb.DuckDBPyConnection) -> None:
        self._reader = Reader(handle, connection, SCHEMA)

    def search(self, search: Search) -> Answer:
        """The rows of this search in order, streamed.

        Files found broken or gone before the first rows are out are dealt with: the plan starts over.
        An iterator that has begun raises `ServiceError` instead of giving an incomplete answer.
        """
        condition = search.filter

        def answer(view: View) -> Answer:
            columns = view.columns(search.columns)
            schema = view.schema(columns)
            if condition.matches_nothing:
                return Answer(0, schema, iter(()), view.warnings, 0)
            counts, opened = self._counts(view, condition)
            parts = ordered_parts(view.files, counts, search.offset, search.limit, PART_ROWS)
            opened.update(int(i) for part in parts for i in part.files)
            batches = self._rows(view, parts, search, columns)
            return Answer(int(counts.sum()), schema, begun(batches), view.warnings, len(opened))

        return self._answered(condition, answer)

    def count(self, condition: Filter) -> Answer:
        """How many rows match, without rows."""

        def answer(view: View) -> Answer:
            counts, opened = self._counts(view, condition)
            return Answer(int(counts.sum()), pa.schema([]), iter(()), view.warnings, len(opened))

        if condition.matches_nothing:
            return Answer(0, pa.schema([]), iter(()), (), 0)
        return self._answered(condition, answer)

    def lookup(self, lookup: Lookup) -> Answer:
        """The rows of these msg_ids, in order of time; unknown ids are absent."""

        def answer(view: View) -> Answer:
            columns = view.columns(lookup.columns)
            schema = view.schema(columns)
            if not len(view.files):
                return Answer(0, schema, iter(()), view.warnings, 0)
            source = self._reader.plain_source(view, view.files)  # a row in both is given once below
            found = list(self._reader.raw(sql.by_ids(source, lookup, columns)))
            if not found:
                return Answer(0, schema, iter(()), view.warnings, len(view.files))
            rows = once_each(pa.Table.from_batches(found)).select(columns)
            batches = [shaped(batch, schema, unmask=lookup.unmask) for batch in rows.to_batches()]
            return Answer(rows.num_rows, schema, iter(batches), view.warnings, len(view.files))

        return self._reader.answered(
            lambda files: of_ids(files, lookup.msg_ids), answer, lambda _, files: of_files(files)
        )

    def _answered(self, condition: Filter, answer: Callable[[View], Answer]) -> Answer:
        days = (condition.start, condition.end)
        return self._reader.answered(
            lambda files: of_days(files, *days), answer, lambda table, _: between(table, *days)
        )

    def _counts(self, view: View, condition: Filter) -> tuple[Ints, set[int]]:
        """Matching rows of each file, and which files were opened to learn it."""
        known = None if condition.any_of else known_counts(view.files, condition.start, condition.end)
        if known is not None and view.kinds is None:
            counts, asked = known.copy(), view.files.doubtful()
        else:
            counts, asked = np.zeros(len(view.files), dtype=np.int64), np.arange(len(view.files))
        if not len(asked):
            return counts, set()
        files = view.files.take(asked)
        counts[asked] = 0
        inside = lie_within(files, condition.start, condition.end)
        for batch in self._reader.raw(
            sql.count_per_file(self._reader.source(view, files), condition, inside=inside)
        ):
            found = batch.column(0).to_numpy().astype(np.int64)
            counts[asked[found]] = batch.column(1).to_numpy()
        return counts, set(asked.tolist())

    def _rows(
        self, view: View, parts: list[Part], search: Search, columns: tuple[str, ...]
    ) -> Iterator[pa.RecordBatch]:
        schema = view.schema(columns)
        inside = lie_within(view.files, search.filter.start, search.filter.end)
        for part in parts:
            query = sql.rows(
                self._reader.source(view, view.files.take(part.files)),
                search.filter,
                columns,
                offset=part.offset,
                limit=part.limit,
                inside=inside,
            )
            for batch in self._reader.raw(query):
                yield shaped(batch, schema, unmask=search.unmask)


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
