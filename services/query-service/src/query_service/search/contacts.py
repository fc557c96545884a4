"""Asking for contacts: by username, chatroom or not, deleted or not, changed since (LAKE-103)."""

from datetime import UTC, datetime

import duckdb

from query_service.search import sql
from query_service.search.columns import CONTACTS_INTERNAL, STORED_CONTACTS
from query_service.search.contact_request import ContactSearch
from query_service.search.handle import LakeHandle
from query_service.search.listed import of_files
from query_service.search.read import Answer, Reader, View, begun
from query_service.search.shape import shaped

# Of a username that the archive has as well, the row that changed last: orders of changes are compared as text.
_CHANGED = "greatest(ltrim(row_order, '-'), split_part(delete_order, chr(10), 1))"
LATEST = (
    f"QUALIFY row_number() OVER (PARTITION BY username ORDER BY {_CHANGED} DESC, ingestion_time DESC) = 1"
)
"""Keeps the row of each username that changed last, of a table with the internal columns."""
_CHATROOM = "suffix(username, '@chatroom')"


class ContactSearcher:
    """Answers checked requests, ordered by username. Thread-safe; owns neither the handle nor the connection."""

    def __init__(self, handle: LakeHandle, connection: duckdb.DuckDBPyConnection) -> None:
        self._reader = Reader(handle, connection, STORED_CONTACTS, internal=CONTACTS_INTERNAL)

    def search(self, search: ContactSearch) -> Answer:
        """The contacts asked for, streamed; see `Searcher.search`."""

        def answer(view: View) -> Answer:
            columns = view.columns(search.columns)
            schema = view.schema(columns)
            if not len(view.files) or search.usernames == ():
                return Answer(0, schema, iter(()), view.warnings, 0)
            source = self._reader.plain_source(view, view.files)
            total = next(self._reader.raw(_count(source, search))).column(0)[0].as_py()
            batches = (
                shaped(batch, schema, unmask=search.unmask)
                for batch in self._reader.raw(_rows(source, search, columns))
            )
            return Answer(total, schema, begun(batches), view.warnings, len(view.files))

        return self._reader.answered(lambda files: files, answer, lambda _, files: of_files(files))


def _count(source: sql.Source, search: ContactSearch) -> sql.Query:
    latest, parameters = _matching(source, search)
    return sql.Query(f"SELECT count(*) FROM {latest}", parameters)  # noqa: S608


def _rows(source: sql.Source, search: ContactSearch, columns: tuple[str, ...]) -> sql.Query:
    latest, parameters = _matching(source, search)
    text = f"SELECT {sql.names(source.schema, columns)} FROM {latest} ORDER BY username"  # noqa: S608
    if search.limit is not None:
        text += " LIMIT $limit"
        parameters["limit"] = search.limit
    if search.offset:
        text += " OFFSET $offset"
        parameters["offset"] = search.offset
    return sql.Query(text, parameters, small=False)


def _matching(source: sql.Source, search: ContactSearch) -> tuple[str, dict[str, object]]:
    """The latest row of each username, of those that match, as a table."""
    parameters = dict(source.parameters)
    names, clauses = "", []
    if search.usernames is not None:
        given = [f"username{i}" for i in range(len(search.usernames))]
        parameters.update(zip(given, search.usernames, strict=True))
        names = f"WHERE username IN ({sql.bound(given)})"
    if search.chatroom is not None:
        clauses.append(_CHATROOM if search.chatroom else f"NOT {_CHATROOM}")
    if search.deleted is not None:
        clauses.append(f"deleteFlag = {int(search.deleted)}")
    if search.changed_since is not None:
        clauses.append("ingestion_time >= make_timestamptz($since_us)")
        parameters["since_us"] = _microseconds(search.changed_since)
    where = f"WHERE {' AND '.join(clauses)}" if clauses else ""
    return f"(SELECT * FROM (SELECT * FROM {source.text} {names} {LATEST}) {where})", parameters  # noqa: S608


def _microseconds(moment: datetime) -> int:
    span = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds
