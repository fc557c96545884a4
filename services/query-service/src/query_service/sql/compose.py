"""Settings in, the asker for SQL out."""

import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import duckdb

from millrace_runtime.clock import Clock
from query_service.metrics import QueryMetrics
from query_service.search.handle import LakeHandle
from query_service.search.read import Reader
from query_service.settings import QuerySettings, megabytes
from query_service.sql.engine import SqlAsker, SqlEngine
from query_service.sql.protocol import WorkerSettings
from query_service.sql.question import Limits
from query_service.sql.views import DATASETS, Views
from query_service.sql.workers import Workers


@contextmanager
def composed_sql(
    settings: QuerySettings,
    clock: Clock,
    handles: Mapping[str, LakeHandle],
    connection: duckdb.DuckDBPyConnection,
    metrics: QueryMetrics,
) -> Iterator[SqlAsker]:
    """The asker for SQL about the lake of `settings`. `handles` are those that the service keeps already.

    Owns the threads, the directory for large sorts and the worker processes, which start with the first question.
    """
    readers = {}
    for name, dataset in DATASETS.items():
        handle = handles.get(name) or LakeHandle(
            settings.table_of(name), clock, archive=settings.archive_of(name)
        )
        readers[name] = Reader(handle, connection, dataset.base, dataset.internal)
    limits = Limits(
        settings.sql_rows,
        settings.sql_max_rows,
        settings.sql_time_s,
        megabytes(settings.sql_answer) << 20,
    )
    with tempfile.TemporaryDirectory(prefix="millrace-sql-") as scratch:
        places = tuple(str(root) for root in settings.roots())
        worker = WorkerSettings(
            places,
            scratch,
            megabytes(settings.sql_memory),
            megabytes(settings.sql_disk),
            settings.query_threads,
        )
        with (
            Workers(worker) as workers,
            ThreadPoolExecutor(settings.sql_workers, thread_name_prefix="sql") as pool,
        ):
            yield SqlAsker(SqlEngine(Views(readers), workers, limits, (*places, scratch)), pool, metrics)
