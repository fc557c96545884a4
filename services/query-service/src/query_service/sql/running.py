"""One statement in DuckDB: look at it, make its views, run it within its limits. Lives in the worker's process."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import ARROW

from query_service.search.layout import quoted
from query_service.sql import masks
from query_service.sql.allowed import NotAllowedError, Text, unexplained, views_read
from query_service.sql.moments import bounds
from query_service.sql.protocol import Answer, Failed, Fault, Given, Wants, WorkerSettings

BATCH_ROWS = 2_048
_AGAIN_S = 0.05

# Errors that are the statement's, whatever the files are.
_OF_STATEMENT = (
    *(duckdb.ParserException, duckdb.SyntaxException, duckdb.BinderException, duckdb.CatalogException),
    *(duckdb.ConversionException, duckdb.OutOfRangeException, duckdb.TypeMismatchException),
    *(duckdb.InvalidTypeException, duckdb.NotImplementedException, duckdb.ConstraintException),
)
# Those that may be either's; the others are of files, unless these turn out to be whole.
_OF_EITHER = (duckdb.InvalidInputException, duckdb.InternalException, duckdb.PermissionException, ValueError)
_OF_FILES = re.compile("parquet|thrift|snappy|zstd|compress|page|file", re.IGNORECASE)


class _TooLargeError(Exception):
    """The answer has more bytes than it may have."""


class Runner:
    """The engine of a worker. Not thread-safe: one statement at a time."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._hidden = (*settings.roots, settings.scratch)
        self._engine = duckdb.connect(
            config={
                "threads": settings.threads,
                "memory_limit": f"{settings.memory_mb}MB",
                "temp_directory": settings.scratch,
                "max_temp_directory_size": f"{settings.scratch_mb}MB",
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "python_enable_replacements": False,
            }
        )
        self._functions = _own_functions(self._engine)
        for name, mask in masks.MASKS.items():
            self._engine.create_function(name, _by_column(mask), ["VARCHAR"], "VARCHAR", type=ARROW)
        self._engine.execute("SET GLOBAL TimeZone = 'UTC'")
        self._engine.execute("SET GLOBAL parquet_metadata_cache = true")
        reachable = ", ".join(_text(str(Path(place)) + "/") for place in (*settings.roots, settings.scratch))
        self._engine.execute(f"SET allowed_directories = [{reachable}]")
        self._engine.execute("SET enable_external_access = false")
        self._engine.execute("SET lock_configuration = true")
        self._statement: Text = Text("")
        # Whatever the engine loads late, it loads now, before memory is limited.
        self._engine.sql(f"SELECT {masks.JSON}(i::VARCHAR) FROM range(10) t(i) ORDER BY 1").to_arrow_table()  # noqa: S608

    def look_at(self, text: str) -> Wants | Failed:
        """What the statement needs, if it is allowed; it is the one that `run` runs."""
        try:
            self._statement = unexplained(text)
            tree = self._tree(self._statement)
            return Wants(views_read(tree, self._functions, self._statement), bounds(tree))
        except NotAllowedError as error:
            return Failed(Fault.REFUSED, str(error))
        except RecursionError:
            return Failed(Fault.REFUSED, "the statement is nested too deeply")
        except (duckdb.Error, MemoryError, UnicodeError) as error:
            return self._failed(error)

    def run(self, given: Given) -> tuple[Answer | Failed, bytes | None]:
        """The answer and its Arrow IPC stream, or why there is none."""
        cursor = self._engine.cursor()
        try:
            with _ended_after(given.time_s, cursor):
                for name, select in given.views.items():
                    cursor.execute(f"CREATE TEMP VIEW {quoted(name)} AS {select}")
                return self._answer(cursor, given)
        except _TooLargeError:
            return Failed(Fault.SIZE, ""), None
        except (duckdb.Error, pa.ArrowException, MemoryError, OSError, RuntimeError, ValueError) as error:
            return self._failed(error), None
        finally:
            cursor.close()

    def _answer(self, cursor: duckdb.DuckDBPyConnection, given: Given) -> tuple[Answer, bytes]:
        relation = cursor.sql(self._statement.runs)
        types = tuple(str(kind) for kind in relation.types)
        batches = relation.to_arrow_reader(BATCH_ROWS)
        rows, size, truncated = 0, 0, False
        sink = BytesIO()
        with pa.ipc.new_stream(sink, batches.schema) as writer:
            for batch in batches:
                kept = batch.slice(0, given.rows - rows)
                truncated = kept.num_rows < batch.num_rows
                if kept.num_rows:
                    size += kept.nbytes
                    if size > given.max_bytes:
                        raise _TooLargeError
                    writer.write_batch(self._without_places(kept))
                rows += kept.num_rows
                if truncated:
                    break
        batches.close()
        return Answer(types, rows, truncated), sink.getvalue()

    def _without_places(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The plans of EXPLAIN name data files: by their names below the roots."""
        if not self._statement.explain:
            return batch
        arrays = [pa.array(map(self._shown, column.to_pylist()), pa.string()) for column in batch.columns]
        return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)

    def _shown(self, text: str | None) -> str | None:
        for place in self._hidden:
            text = None if text is None else text.replace(place + "/", "").replace(place, "")
        return text

    def _tree(self, text: Text) -> dict[str, Any]:
        """The statement as DuckDB reads it. Raises `NotAllowedError` where it is none that only reads."""
        rows = self._engine.execute("SELECT json_serialize_sql($1)", [text.select]).fetchall()
        tree: dict[str, Any] = json.loads(rows[0][0])
        if not tree["error"]:
            return tree
        if tree["error_type"] == "parser":
            raise NotAllowedError(f"{self._first_line(tree['error_message'])}{_place(tree, text)}")
        kinds = [part.type.name for part in self._engine.extract_statements(text.select)]
        if len(kinds) > 1:
            raise NotAllowedError(f"one statement at a time: these are {len(kinds)}")
        if kinds == ["SELECT"]:
            raise NotAllowedError(self._first_line(tree["error_message"]))
        raise NotAllowedError(f"{' '.join(kinds)} is not allowed: only statements that read are")

    def _failed(self, error: BaseException) -> Failed:
        message = str(error)
        if isinstance(error, duckdb.InterruptException) or "INTERRUPT" in message:
            return Failed(Fault.TIME, "")
        if isinstance(error, duckdb.OutOfMemoryException | pa.ArrowMemoryError | MemoryError):
            return Failed(Fault.MEMORY, "")
        if "std::bad_alloc" in message or "Out of Memory" in message:
            return Failed(Fault.MEMORY, "")
        if isinstance(error, _OF_STATEMENT):
            return Failed(Fault.REFUSED, self._first_line(message))
        if isinstance(error, _OF_EITHER) and not _OF_FILES.search(message):
            return Failed(Fault.REFUSED, self._first_line(message))
        return Failed(Fault.FILES, message)

    def _first_line(self, message: str) -> str:
        return first_line(message, self._hidden)


def first_line(message: str, places: tuple[str, ...]) -> str:
    """The first line of what DuckDB says, without the places of files."""
    line = message.partition("\n")[0].strip()
    for place in places:
        line = line.replace(place + "/", "").replace(place, "")
    return line


def _place(tree: dict[str, Any], text: Text) -> str:
    at = str(tree.get("position", ""))
    return f" ({text.position(int(at))})" if at.isdecimal() else ""


def _own_functions(engine: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Names of the functions that give values, before any of ours is among them."""
    rows = engine.execute(
        "SELECT DISTINCT lower(function_name) FROM duckdb_functions() "
        "WHERE function_type IN ('scalar', 'aggregate', 'macro', 'window')"
    ).fetchall()
    return frozenset(name for (name,) in rows)


def _by_column(mask: Callable[[str], str]) -> Callable[[Any], pa.Array]:
    def masked(column: Any) -> pa.Array:
        return pa.array([None if text is None else mask(text) for text in column.to_pylist()], pa.string())

    return masked


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def _ended_after(seconds: float, cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """What the cursor runs is interrupted after so many seconds, and until it has noticed."""
    done = threading.Event()

    def watch() -> None:
        # The engine forgets an interrupt that comes between two of its steps.
        wait_s = seconds
        while not done.wait(wait_s):
            cursor.interrupt()
            wait_s = _AGAIN_S

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
