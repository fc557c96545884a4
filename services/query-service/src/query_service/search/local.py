"""Asking a lake by its files: no service, no key, in the caller's thread (LAKE-9, LAKE-100 to LAKE-103).

from query_service.search.local import Lake
with Lake(Path("/data/parquet")) as lake:
    found = lake.query("2026-03-01", "2026-03-31", chatroom="47210093358@chatroom", limit=100)
    found.total, found.warnings, found.table()
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from millrace_runtime.clock import SYSTEM_CLOCK
from millrace_runtime.errors import ErrorCode, ServiceError
from query_service.search.columns import FILTERS
from query_service.search.contact_request import ContactSearch
from query_service.search.contacts import ContactSearcher
from query_service.search.handle import LakeHandle
from query_service.search.letter_request import LetterSearch
from query_service.search.letters import LetterSearcher
from query_service.search.read import Answer, connect
from query_service.search.request import (
    Filter,
    Lookup,
    Search,
    checked_columns,
    checked_filter,
    checked_limit,
    checked_offset,
    refusal,
)
from query_service.search.run import Searcher

Value = str | int
Values = Value | Sequence[Value] | None


class BadQueryError(ValueError):
    """A parameter makes no sense; the text begins with its name."""


class LakeNotFoundError(FileNotFoundError):
    """The directory that was given as the lake is not there."""


class LakeUnreadableError(OSError):
    """The lake is there and cannot be read now, or not with the memory that a query may use."""


@dataclass(frozen=True, slots=True)
class Found:
    """An answer. `total` counts all matching rows, not only those of the page; `warnings` name files that should have
    been read and were not (LAKE-90). The rows can be taken once, as batches or as a table."""

    total: int
    schema: pa.Schema
    warnings: tuple[str, ...]
    files_opened: int
    _batches: Iterator[pa.RecordBatch]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in order. Raises `LakeUnreadableError` rather than giving some of them."""
        with _translated():
            yield from self._batches

    def table(self) -> pa.Table:
        """All rows at once."""
        return pa.Table.from_batches(self.batches(), schema=self.schema)


class Lake:
    """The datasets below `root`, and below `archive` unless that is None. Close it, or use it in a `with`.

    Directories without a table log are read as the Parquet files in them. A table or archive that is not there has no
    rows. `memory` is what the engine may use before it sorts on disk.
    """

    def __init__(
        self, root: Path, archive: Path | None = None, *, memory: str = "512MB", threads: int = 2
    ) -> None:
        """Raises `LakeNotFoundError`."""
        if not root.is_dir():
            raise LakeNotFoundError(f"parquet_root: there is no directory {root}")
        with ExitStack() as opened:
            scratch = opened.enter_context(tempfile.TemporaryDirectory(prefix="millrace-query-"))
            self._connection = opened.enter_context(
                connect(threads=threads, memory_limit=memory, temp_directory=Path(scratch))
            )
            self._resources = opened.pop_all()
        self._root, self._archive = root, archive

    def __enter__(self) -> "Lake":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the engine; answers that are not read to their end end with it."""
        self._resources.close()

    def query(
        self,
        start_date: str,
        end_date: str,
        *,
        include_archive: bool = True,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
        unmask: bool = False,
        **filters: Values,
    ) -> Found:
        """Messages of whole UTC days, both ends included, ordered by create_time, then msg_id.

        `filters`: chatroom, from_username, to_username, chatroom_sender, guid, sender, msg_type, is_chatroom_msg and
        notify_type. Exact match of one value, or of any in a list; they combine with AND; an empty list matches no row.

        Raises `BadQueryError`, `LakeUnreadableError`.
        """
        with _translated():
            search = Search(
                filter=_filter(start_date, end_date, filters),
                columns=_columns(columns),
                limit=checked_limit(limit, paged=False),
                offset=checked_offset(offset),
                unmask=unmask,
            )
            return _found(self._messages(include_archive=include_archive).search(search))

    def query_by_id(
        self,
        msg_ids: Sequence[str],
        *,
        include_archive: bool = True,
        columns: Sequence[str] | None = None,
        unmask: bool = False,
    ) -> Found:
        """The messages of these ids, once each, in order of time; unknown ids are absent.

        Raises `BadQueryError`, `LakeUnreadableError`.
        """
        with _translated():
            lookup = Lookup(tuple(sorted(set(msg_ids))), _columns(columns), unmask)
            return _found(self._messages(include_archive=include_archive).lookup(lookup))

    def contacts(
        self,
        *,
        usernames: Sequence[str] | None = None,
        chatroom: bool | None = None,
        deleted: bool | None = None,
        changed_since: datetime | None = None,
        include_archive: bool = True,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
        unmask: bool = False,
    ) -> Found:
        """Contacts ordered by username. None does not filter; `changed_since` without a time zone is UTC.

        Raises `BadQueryError`, `LakeUnreadableError`.
        """
        with _translated():
            if changed_since is not None and changed_since.tzinfo is None:
                changed_since = changed_since.replace(tzinfo=UTC)
            search = ContactSearch(
                usernames=None if usernames is None else tuple(dict.fromkeys(usernames)),
                chatroom=chatroom,
                deleted=deleted,
                changed_since=changed_since,
                columns=_columns(columns),
                limit=checked_limit(limit, paged=False),
                offset=checked_offset(offset),
                unmask=unmask,
            )
            handle = self._handle("contacts", include_archive=include_archive)
            return _found(ContactSearcher(handle, self._connection).search(search))

    def dead_letters(self, search: LetterSearch) -> Found:
        """Dead letters ordered by the time of landing, then origin; `search/letter_request` makes such a search.

        Raises `BadQueryError`, `LakeUnreadableError`.
        """
        with _translated():
            searcher = LetterSearcher(
                self._handle("dead_letters", include_archive=False),
                self._handle("messages", include_archive=True),
                self._handle("other", include_archive=True),
                self._handle("contacts", include_archive=True),
                self._connection,
            )
            return _found(searcher.search(search))

    def _messages(self, *, include_archive: bool) -> Searcher:
        return Searcher(self._handle("messages", include_archive=include_archive), self._connection)

    def _handle(self, dataset: str, *, include_archive: bool) -> LakeHandle:
        archive = self._archive / dataset if include_archive and self._archive is not None else None
        return LakeHandle(_table(self._root, dataset), SYSTEM_CLOCK, archive=archive, unlogged=True)


def _table(root: Path, dataset: str) -> Path:
    """The directory of a dataset; `root` itself where that is one."""
    is_table = (root / "_delta_log").is_dir() or next(root.glob("year=*"), None) is not None
    return root if is_table else root / dataset


def _filter(start: str, end: str, filters: Mapping[str, Values]) -> Filter:
    any_of: dict[str, Sequence[Value]] = {}
    for name, values in filters.items():
        if name not in FILTERS:
            raise refusal(name, f"is not a filter; there are {', '.join(FILTERS)}")
        if values is not None:
            any_of[name] = [values] if isinstance(values, str | int) else list(values)
    return checked_filter(start, end, any_of, names=("start_date", "end_date"))


def _columns(names: Sequence[str] | None) -> tuple[str, ...]:
    if names is None:
        return checked_columns([])
    if not names:
        raise refusal("columns", "names no column")
    return checked_columns(names)


def _found(answer: Answer) -> Found:
    return Found(answer.total, answer.schema, answer.warnings, answer.files_opened, answer.batches)


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of the search as those of this module."""
    try:
        yield
    except ServiceError as error:
        if error.code is ErrorCode.INVALID_REQUEST:
            raise BadQueryError(error.message) from None
        raise LakeUnreadableError(error.message) from error
