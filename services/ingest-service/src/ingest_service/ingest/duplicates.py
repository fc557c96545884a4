"""Removing rows whose msg_id is stored more than once: from a table in place, or while copying it (LAKE section 6).

Landing stores no duplicate; they come by `--no-deduplicate`, or by another program that writes to the table.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, write_deltalake
from deltalake.exceptions import CommitFailedError

from ingest_service.errors import BadArgumentError, BadDataError, NotFoundError, StorageIoError
from ingest_service.ingest.failures import ingest_errors
from ingest_service.ingest.results import DeduplicateResult
from ingest_service.lake.durable import sync_file_system
from ingest_service.lake.recover import upkeep
from ingest_service.lake.tables import WRITER_PROPERTIES, Lake
from ingest_service.land.index.index import EPOCH, day_number, partition_filter
from ingest_service.land.index.keys import BUCKETS, keys_of
from millrace_runtime.logs import get_logger
from millrace_schemas import datasets

log = get_logger(__name__)

ROWS_AT_ONCE = 20_000_000
"""Rows whose keys are compared at a time, at some 40 bytes each; a larger table is read once for each such share."""

_ATTEMPTS = 5
_TABLE = "messages"

Numbers = npt.NDArray[np.int64]


def deduplicate(
    parquet_root: str | Path,
    partition: str | None = None,
    output_root: str | Path | None = None,
) -> DeduplicateResult:
    """Keep of each msg_id the row that was stored first: the earliest ingestion_time, then journal and line.

    Args:
        parquet_root: the lake.
        partition: only rows of this UTC day, `YYYY-MM-DD`, compared with each other; all days by default.
        output_root: another lake to write the unique rows to, whose days are replaced; in place by default. In place
            each day is one commit, so that a crash leaves days done and days to do, and never half of one; days
            without a duplicate are not touched.

    Raises NotFoundError (no such lake, no row of that day), BadArgumentError, BadDataError (a data file cannot be
    read: nothing is changed), StorageIoError (the day was rewritten by somebody else again and again).
    """
    root = Path(parquet_root).absolute()
    with ingest_errors("deduplicate", root):
        lake = Lake(root)
        if not lake.exists(_TABLE):
            raise NotFoundError(f"{root}: no lake with messages there", source=root)
        target = None if output_root is None else Lake(Path(output_root).absolute())
        if target is not None and target.root == root:
            raise BadArgumentError("output_root: is the lake itself; leave it out to deduplicate in place")
        day = None if partition is None else _day(partition)
        with upkeep(root.parent / "metadata"):
            return _deduplicated(lake, day, target)


def _day(partition: str) -> int:
    try:
        date = datetime.date.fromisoformat(partition)
        if date.isoformat() != partition:
            raise ValueError
    except ValueError:
        raise BadArgumentError(f"partition: {partition!r} is not a day YYYY-MM-DD") from None
    return (date - EPOCH).days


@dataclass(frozen=True, slots=True)
class _File:
    """A live data file: its day number and its rows that are to go, as their numbers in it."""

    path: str
    day: int
    rows: int
    surplus: Numbers


class _RewrittenError(Exception):
    """Files of a day that are not those that were looked at: look again."""


def _deduplicated(lake: Lake, day: int | None, target: Lake | None) -> DeduplicateResult:
    removed = 0
    first: list[_File] | None = None
    for _ in range(_ATTEMPTS):
        files = _with_surplus(lake.open(_TABLE), day)
        if not files and day is not None:
            raise NotFoundError(f"no message of {EPOCH + datetime.timedelta(day)} in {lake.root}")
        first = files if first is None else first
        try:
            for number in sorted({file.day for file in files}):
                some = [file for file in files if file.day == number]
                removed += _copy(target, some, number) if target else _in_place(lake, some, number)
        except _RewrittenError as error:
            log.info("deduplicate_lost_race", error=str(error))
            continue
        if files:
            sync_file_system((target or lake).root)
        total, days = sum(file.rows for file in first), len({file.day for file in first})
        log.info("deduplicated", root=str(lake.root), total=total, removed=removed, files=len(first))
        return DeduplicateResult(total, total - removed, removed, len(first), days)
    raise StorageIoError(f"{lake.root}: other writers rewrote the same days {_ATTEMPTS} times in between")


def _with_surplus(table: DeltaTable, day: int | None) -> list[_File]:
    """The live files with the rows in them that repeat an earlier one."""
    adds = pa.table(table.get_add_actions(flatten=True))
    root = str(table.table_uri).removeprefix("file://").rstrip("/") + "/"
    names = ("path", "partition.year", "partition.month", "partition.day")
    found = [
        (root + path, day_number(*map(int, date)))
        for path, *date in zip(*(adds[name].to_pylist() for name in names), strict=True)
    ]
    live = sorted(
        ((path, number) for path, number in found if day in (None, number)), key=lambda one: one[::-1]
    )
    counts = [_rows_in(path) for path, _ in live]
    shares = _shares(sum(counts))
    surplus: list[list[Numbers]] = [[] for _ in live]
    for share in range(shares):
        for file, rows in _repeats([path for path, _ in live], share, shares):
            surplus[file].append(rows)
    return [
        _File(path, number, rows, np.sort(np.concatenate([np.zeros(0, np.int64), *some])))
        for (path, number), rows, some in zip(live, counts, surplus, strict=True)
    ]


def _shares(rows: int) -> int:
    shares = 1
    while shares < BUCKETS and rows > shares * ROWS_AT_ONCE:
        shares *= 2
    return shares


def _rows_in(path: str) -> int:
    try:
        with pa.OSFile(path) as source:
            return int(pq.read_metadata(source).num_rows)
    except (pa.ArrowInvalid, FileNotFoundError) as error:
        raise BadDataError(f"{path}: not a whole Parquet file: {error}", source=path) from error


_ORDER = ("ingestion_time", "src_file", "src_door", "src_line", "src_element")


def _repeats(paths: list[str], share: int, shares: int) -> Iterator[tuple[int, Numbers]]:
    """(file, rows) of the rows of one share of the keys that repeat an earlier one."""
    values, files, rows, exact = [], [], [], []
    for number, path in enumerate(paths):
        with pa.OSFile(path) as source:
            ids = pq.ParquetFile(source).read(["msg_id"]).column("msg_id").cast(pa.string()).combine_chunks()
        keys = keys_of(ids)
        here = np.flatnonzero(keys.buckets % shares == share)
        values.append(keys.values[here])
        exact.append(keys.exact[here])
        files.append(np.full(len(here), number, np.int32))
        rows.append(here.astype(np.int64))
    if not values:
        return
    key, is_exact = np.concatenate(values), np.concatenate(exact)
    file, row = np.concatenate(files), np.concatenate(rows)
    order = np.lexsort((is_exact, key))
    same = (key[order][1:] == key[order][:-1]) & (is_exact[order][1:] == is_exact[order][:-1])
    suspect = np.zeros(len(order), np.bool_)
    suspect[1:] |= same
    suspect[:-1] |= same
    candidates = order[suspect]
    if len(candidates):
        yield from _surplus_among(paths, file[candidates], row[candidates])


def _surplus_among(
    paths: list[str], file: npt.NDArray[np.int32], row: Numbers
) -> Iterator[tuple[int, Numbers]]:
    """Of rows that may repeat each other, those that do: all but the first of each msg_id, by the texts themselves."""
    parts = []
    for number in np.unique(file):
        rows = np.sort(row[file == number])
        with pa.OSFile(paths[number]) as source:
            some = pq.ParquetFile(source).read(["msg_id", *_ORDER]).select(["msg_id", *_ORDER]).take(rows)
        text = some.set_column(0, "msg_id", some.column("msg_id").cast(pa.string()))
        for index, name in enumerate(_ORDER, 1):
            if name.startswith("src_") and name not in ("src_line", "src_element"):
                text = text.set_column(index, name, text.column(name).cast(pa.string()))
        parts.append(
            text.append_column("file", pa.array(np.full(len(rows), number, np.int32))).append_column(
                "row", pa.array(rows)
            )
        )
    names = ("msg_id", *_ORDER, "file", "row")
    table = pa.concat_tables(parts).sort_by([(name, "ascending") for name in names])
    ids = table.column("msg_id").combine_chunks()
    repeated = np.zeros(table.num_rows, np.bool_)
    repeated[1:] = pa.compute.equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    files, rows = table.column("file").to_numpy()[repeated], table.column("row").to_numpy()[repeated]
    for number in np.unique(files):
        yield int(number), rows[files == number]


def _in_place(lake: Lake, files: list[_File], day: int) -> int:
    """Takes a day's surplus rows out; returns how many. Rows that came since the look stay: landing adds no
    duplicate. Raises _RewrittenError when the files that were looked at are gone."""
    surplus = {file.path: file.surplus for file in files if len(file.surplus)}
    if not surplus:
        return 0
    for _ in range(_ATTEMPTS):
        # A handle of this moment for each try: a commit of ours refreshes a handle for all days, and what came
        # meanwhile would be replaced without having been read. What comes from here on makes the commit fail.
        table = lake.open(_TABLE)
        live = [
            uri.removeprefix("file://") for uri in table.file_uris(partition_filters=partition_filter(day))
        ]
        if not surplus.keys() <= set(live):
            break
        none = np.zeros(0, np.int64)
        try:
            _replace(table, [(path, surplus.get(path, none)) for path in live], day)
        except CommitFailedError:
            continue
        return sum(map(len, surplus.values()))
    raise _RewrittenError(str(EPOCH + datetime.timedelta(day)))


def _copy(target: Lake, files: list[_File], day: int) -> int:
    """Makes the day in the target what stays of it; returns how many rows do not."""
    _replace(target.open(_TABLE), [(file.path, file.surplus) for file in files], day)
    return sum(len(file.surplus) for file in files)


def _replace(table: DeltaTable, files: list[tuple[str, Numbers]], day: int) -> None:
    """The day's rows become those of these files without the surplus ones, in one commit, which fails when the day
    has changed since the handle was opened."""
    date = EPOCH + datetime.timedelta(day)
    schema = datasets.load(_TABLE).arrow_schema()
    keys = {"year": f"{date:%Y}", "month": f"{date:%m}", "day": f"{date:%d}"}
    write_deltalake(
        table,
        pa.RecordBatchReader.from_batches(schema, _staying(files, schema, keys)),
        mode="overwrite",
        predicate=" AND ".join(f"{name} = '{value}'" for name, value in keys.items()),
        writer_properties=WRITER_PROPERTIES[_TABLE],
        commit_properties=CommitProperties(custom_metadata={"millrace.deduplicate": date.isoformat()}),
        post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
    )


def _staying(
    files: list[tuple[str, Numbers]], schema: pa.Schema, keys: dict[str, str]
) -> Iterator[pa.RecordBatch]:
    """The rows of these files but the surplus ones, a batch at a time, with their directory keys."""
    for path, surplus in files:
        at = 0
        with pa.OSFile(path) as source:
            for batch in pq.ParquetFile(source).iter_batches(batch_size=20_000):
                stays = np.ones(batch.num_rows, np.bool_)
                gone = surplus[(surplus >= at) & (surplus < at + batch.num_rows)]
                stays[gone - at] = False
                at += batch.num_rows
                yield _shaped(batch.filter(pa.array(stays)), schema, keys)


def _shaped(batch: pa.RecordBatch, schema: pa.Schema, keys: dict[str, str]) -> pa.RecordBatch:
    """In the stored schema: a file of another writer may hold other string types, or lack a newer column."""
    columns: list[Any] = []
    for field in schema:
        if field.name in keys:
            columns.append(pa.repeat(pa.scalar(keys[field.name], pa.string()), batch.num_rows))
        elif field.name in batch.schema.names:
            columns.append(batch.column(field.name).cast(field.type))
        else:
            columns.append(pa.nulls(batch.num_rows, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
