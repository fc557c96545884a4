"""Reading a table's commit log: what each commit added, and which batch it was.

`_delta_log` is the contract of a Delta table, so it is read as files: the handle of a library
says what a table holds now, not what a certain commit brought.
"""

from __future__ import annotations

import dataclasses
import pathlib
import urllib.parse
from collections.abc import Mapping
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

BATCH_KEY = "millrace.batch"
ARCHIVED_KEY = "millrace.archived"
"""In the log, with the day: this commit takes rows out of the lake that are in the archive."""

_actions = msgspec.json.Decoder(dict[str, Any]).decode_lines


class LogUnavailableError(Exception):
    """A commit's log entry is gone (cleaned up) or unreadable: whoever follows the log starts over."""


@dataclasses.dataclass(frozen=True, slots=True)
class AddedFile:
    """A data file that a commit added: path below the table, bytes, and its partition values."""

    path: str
    size: int
    partition: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Commit:
    """One commit.

    `added` are files with new rows; files that a compaction wrote hold old rows and are in `rewritten`. `removed`:
    it took rows out of the table for good, as repairs do; archiving does not, which has them elsewhere. `gone` are the
    paths of files that it took out, for whatever reason; `time_ms` is when it was made, None where it does not say.
    """

    version: int
    batch: str | None
    added: tuple[AddedFile, ...]
    rewritten: tuple[AddedFile, ...]
    transactions: Mapping[str, int]
    removed: bool = False
    gone: tuple[str, ...] = ()
    time_ms: int | None = None


def entry(table: pathlib.Path, version: int) -> pathlib.Path:
    """The log entry's file."""
    return table / "_delta_log" / f"{version:020d}.json"


def read_commit(table: pathlib.Path, version: int) -> Commit:
    """The commit of that version; LogUnavailableError when its entry cannot be read."""
    try:
        text = entry(table, version).read_bytes()
    except FileNotFoundError:
        raise LogUnavailableError(f"{table.name}: log entry {version} is gone") from None
    try:
        actions = _actions(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LogUnavailableError(f"{table.name}: log entry {version} is not readable: {error}") from error
    if not actions:
        raise LogUnavailableError(f"{table.name}: log entry {version} is empty")
    batch: str | None = None
    added: list[AddedFile] = []
    rewritten: list[AddedFile] = []
    transactions: dict[str, int] = {}
    gone: list[str] = []
    time_ms: int | None = None
    removed = archived = False
    for action in actions:
        if "add" in action:
            add = action["add"]
            file = AddedFile(urllib.parse.unquote(add["path"]), add["size"], add["partitionValues"])
            (added if add["dataChange"] else rewritten).append(file)
        elif "commitInfo" in action:
            batch = action["commitInfo"].get(BATCH_KEY)
            archived = ARCHIVED_KEY in action["commitInfo"]
            time_ms = action["commitInfo"].get("timestamp")
        elif "remove" in action:
            removed = removed or action["remove"].get("dataChange", True)
            gone.append(urllib.parse.unquote(action["remove"]["path"]))
        elif "txn" in action:
            transactions[action["txn"]["appId"]] = action["txn"]["version"]
    return Commit(
        version,
        batch,
        tuple(added),
        tuple(rewritten),
        transactions,
        removed and not archived,
        tuple(gone),
        time_ms,
    )


def transactions_of(table: pathlib.Path) -> dict[str, int]:
    """Every app id of the table's transactions and its version: the newest checkpoint, and the entries since.

    The library answers only for an app id that one knows. LogUnavailableError when the log cannot be read.
    """
    log = table / "_delta_log"
    checkpoint = max(log.glob("*.checkpoint.parquet"), default=None)
    found: dict[str, int] = {}
    start = 0
    if checkpoint is not None:
        start = int(checkpoint.name.partition(".")[0]) + 1
        with pa.OSFile(str(checkpoint)) as source:
            column = pq.ParquetFile(source).read(["txn"]).column("txn")
        found = {txn["appId"]: txn["version"] for txn in column.drop_null().to_pylist()}
    for version in sorted(int(path.stem) for path in log.glob("*.json") if path.stem.isdigit()):
        if version >= start:
            found |= read_commit(table, version).transactions
    return found
