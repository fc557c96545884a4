"""Asking for dead letters (LAKE-91): which ones, why, and whether what they stand for has a row by now.

Nothing is written into the table when a letter is replayed: it has landed when a row has its origin, when a message
has the msg_id of its body, or when its contact has changed after it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from millrace_schemas.masking import HIDDEN, mask_extra_fields
from query_service.search import sql
from query_service.search.columns import (
    CONTACTS_INTERNAL,
    PARTITION_KEYS,
    SCHEMA,
    STORED_CONTACTS,
    STORED_LETTERS,
    STORED_OTHER,
)
from query_service.search.files import Files, bounds_us
from query_service.search.handle import LakeHandle
from query_service.search.layout import quoted
from query_service.search.letter_request import FILTERS, LetterSearch
from query_service.search.listed import of_files
from query_service.search.read import Answer, Reader, View

LETTER_SCHEMA: Final = pa.schema(
    [
        pa.field("id", pa.string()),
        *(field for field in STORED_LETTERS if field.name not in PARTITION_KEYS),
        pa.field("landed", pa.bool_()),
    ]
)
"""A letter as it is shown: its id, the stored columns, and whether it has landed."""

_ORDER = "ingestion_time, src_door, src_file, src_line, src_element"
_ID = "concat_ws('/', src_door, src_file, src_line, src_element)"
# A body is any text. JSON without a msg_id gives NULL, which equals nothing.
_MSG_ID = (
    "CASE WHEN json_valid(body) THEN coalesce("
    "json_extract_string(body, '$.data.msg_id'), json_extract_string(body, '$.msg_id')) END"
)
_USERNAME = (
    "CASE WHEN json_valid(body) THEN coalesce(json_extract_string(body, '$.data.userName.string'), "
    "json_extract_string(body, '$.data.userName'), json_extract_string(body, '$.data.username'), "
    "json_extract_string(body, '$.data.tpUsername')) END"
)
# Orders of contact changes begin with the day of the journal and the milliseconds of receipt; a letter is landed
# after it was received, so a change that is later than that is later than the letter.
_AFTER = "concat(left(src_file, 10), '|', lpad(CAST(epoch_ms(ingestion_time) AS VARCHAR), 15, '0'), '|~')"
_DELETED = "split_part(delete_order, chr(10), 1)"
_CHANGED = f"greatest(ltrim(row_order, '-'), {_DELETED})"
_END = "concat('|', src_door, '|', lpad(CAST(src_line AS VARCHAR), 15, '0'))"  # of the order of the letter itself

_Landed = Callable[[list[sql.Source]], Answer]


class LetterSearcher:
    """Answers checked requests, ordered by the time of landing, then origin. Thread-safe; owns neither the handles
    nor the connection."""

    def __init__(
        self,
        letters: LakeHandle,
        messages: LakeHandle,
        other: LakeHandle,
        contacts: LakeHandle,
        connection: duckdb.DuckDBPyConnection,
    ) -> None:
        self._letters = Reader(letters, connection, STORED_LETTERS)
        self._rows = (
            Reader(messages, connection, SCHEMA),
            Reader(other, connection, STORED_OTHER),
            Reader(contacts, connection, STORED_CONTACTS, internal=CONTACTS_INTERNAL),
        )

    def search(self, search: LetterSearch) -> Answer:
        """The letters asked for; see `Searcher.search`."""

        def prune(files: Files) -> Files:
            return _of_days(files, search)

        def answer(view: View) -> Answer:
            if not len(view.files) or search.matches_nothing:
                return Answer(0, LETTER_SCHEMA, iter(()), view.warnings, 0)
            letters = self._letters.plain_source(view, view.files)
            return self._with_rows(0, [], lambda sources: self._answer(view, letters, sources, search))

        return self._letters.answered(prune, answer, lambda _, files: of_files(files))

    def _with_rows(self, at: int, sources: list[sql.Source], answer: _Landed) -> Answer:
        """What `answer` makes of messages, other and contacts, whole."""
        if at == len(self._rows):
            return answer(sources)
        reader = self._rows[at]

        def with_view(view: View) -> Answer:
            source = (
                reader.plain_source(view, view.files) if len(view.files) else _nothing(view.layout.schema)
            )
            found = self._with_rows(at + 1, [*sources, sql.renamed(source, f"rows{at}_")], answer)
            return Answer(
                found.total,
                found.schema,
                found.batches,
                (*found.warnings, *(w for w in view.warnings if w not in found.warnings)),
                found.files_opened + len(view.files),
            )

        return reader.answered(lambda files: files, with_view, lambda _table, _files: ())

    def _answer(
        self, view: View, letters: sql.Source, rows: list[sql.Source], search: LetterSearch
    ) -> Answer:
        clauses, parameters = _where(search)
        for source in (letters, *rows):
            parameters |= source.parameters
        text = _letters_with_landed(letters, rows, clauses)
        if search.landed is not None:
            text = f"SELECT * FROM ({text}) WHERE landed = {str(search.landed).lower()}"  # noqa: S608
        total = next(self._letters.raw(sql.Query(f"SELECT count(*) FROM ({text})", parameters)))  # noqa: S608
        page = f"SELECT {sql.names(LETTER_SCHEMA, LETTER_SCHEMA.names)} FROM ({text}) ORDER BY {_ORDER}"  # noqa: S608
        limits = "" if search.limit is None else " LIMIT $limit OFFSET $offset"
        if search.limit is not None:
            parameters |= {"limit": search.limit, "offset": search.offset}
        batches = [
            _shown(batch, unmask=search.unmask)
            for batch in self._letters.raw(sql.Query(page + limits, parameters))
        ]
        return Answer(
            total.column(0)[0].as_py(), LETTER_SCHEMA, iter(batches), view.warnings, len(view.files)
        )


def _letters_with_landed(letters: sql.Source, rows: list[sql.Source], clauses: list[str]) -> str:
    """`LETTER_SCHEMA` of the letters that meet the clauses, as a query."""
    messages, other, contacts = rows
    where = f"WHERE {' AND '.join(clauses)}" if clauses else ""
    origin = "src_door, src_file, src_line, src_element"
    lines = "WHERE src_line IN (SELECT src_line FROM letters)"
    return f"""
        WITH letters AS MATERIALIZED (
            SELECT *, {_ID} AS id, {_MSG_ID} AS body_msg_id, {_USERNAME} AS body_username, {_AFTER} AS after_order,
                {_END} AS end_of_order
            FROM {letters.text} {where}
        ), origins AS MATERIALIZED (
            SELECT {origin} FROM {messages.text} {lines}
            UNION SELECT {origin} FROM {other.text} {lines}
            UNION SELECT {origin} FROM {contacts.text} {lines}
        ), ids AS MATERIALIZED (
            SELECT DISTINCT msg_id FROM {messages.text}
            WHERE msg_id IN (SELECT body_msg_id FROM letters WHERE body_msg_id IS NOT NULL)
        ), changed AS MATERIALIZED (
            SELECT username, max({_CHANGED}) AS latest, max({_DELETED}) AS deleted FROM {contacts.text}
            WHERE username IN (SELECT body_username FROM letters WHERE body_username IS NOT NULL) GROUP BY username
        )
        SELECT letters.*,
            origins.src_line IS NOT NULL OR ids.msg_id IS NOT NULL
                OR coalesce(latest > after_order OR ends_with(deleted, end_of_order), false) AS landed
        FROM letters
        LEFT JOIN origins USING ({origin})
        LEFT JOIN ids ON ids.msg_id = body_msg_id
        LEFT JOIN changed ON changed.username = body_username
    """  # noqa: S608


def _where(search: LetterSearch) -> tuple[list[str], dict[str, object]]:
    clauses: list[str] = []
    parameters: dict[str, object] = {}
    if search.origin is not None:
        for name in ("door", "file", "line", "element"):
            clauses.append(f"src_{name} = $origin_{name}")
            parameters[f"origin_{name}"] = getattr(search.origin, name)
    for name, values in search.any_of.items():
        given = [f"{name}_{i}" for i in range(len(values))]
        parameters.update(zip(given, values, strict=True))
        clauses.append(f"{FILTERS[name]} IN ({sql.bound(given)})")
    return clauses, parameters


def _nothing(schema: pa.Schema) -> sql.Source:
    """A table without rows."""
    columns = ", ".join(
        f"NULL::{_KINDS.get(field.type, 'VARCHAR')} AS {quoted(field.name)}" for field in schema
    )
    return sql.Source(f"(SELECT {columns} WHERE false)", {}, schema)


_KINDS: Final = {pa.int64(): "BIGINT", pa.int32(): "INTEGER"}


def _of_days(files: Files, search: LetterSearch) -> Files:
    """The partitions of these days: letters lie in that of the day on which they were landed."""
    if search.start is None and search.end is None:
        return files
    low = np.iinfo(np.int64).min if search.start is None else bounds_us(search.start, search.start)[0]
    high = np.iinfo(np.int64).max if search.end is None else bounds_us(search.end, search.end)[0]
    day_us = 86_400_000_000
    first = files.day >= (low // day_us if search.start is not None else low)
    last = files.day <= (high // day_us if search.end is not None else high)
    return files.take(np.flatnonzero(first & last))


def _shown(batch: pa.RecordBatch, *, unmask: bool) -> pa.RecordBatch:
    """The batch as `LETTER_SCHEMA`; bodies masked unless `unmask` (LAKE-56).

    In JSON, telephone numbers and customInfo.detail are hidden wherever they stand. Any other body may be anything,
    so none of it is shown.
    """
    batch = batch.cast(LETTER_SCHEMA)
    if unmask:
        return batch
    for name, hide in (("body", _masked), ("body_base64", lambda _: HIDDEN)):
        at = LETTER_SCHEMA.get_field_index(name)
        texts = [None if text is None else hide(text) for text in batch.column(at).to_pylist()]
        batch = batch.set_column(at, LETTER_SCHEMA.field(at), pa.array(texts, pa.string()))
    return batch


def _masked(body: str) -> str:
    if not body or body.lstrip().startswith("{"):
        return mask_extra_fields(body)
    return HIDDEN
