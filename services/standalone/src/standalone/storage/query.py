"""`millrace storage query` and `query-by-id`: messages straight from the files of lake and archive."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from standalone.storage.outcome import outcome, print_json
from standalone.storage.output import written
from standalone.storage.roots import ArchiveRoot, Json, ParquetRoot, roots
from standalone.storage.rows import print_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from query_service.search.local import Found, Lake

SHOWN_ROWS = 10
"""Rows that `query` prints; the others are counted."""

_SHOWN_COLUMNS = [
    "create_time",
    "msg_id",
    "chatroom",
    "from_username",
    "chatroom_sender",
    "msg_type",
    "content",
]
# Columns of a table when none are asked for: all 23 fit no terminal.

Texts = Annotated[list[str] | None, typer.Option(metavar="TEXT", help="Exact; repeat for any of several.")]
Columns = Annotated[
    str | None, typer.Option("--columns", metavar="A,B,…", help="Columns in this order; default: all.")
]
Unmask = Annotated[bool, typer.Option("--unmask", help="Clear telephone numbers and customInfo.detail.")]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE.csv", help="Write all rows there, as CSV.")
]


def query(
    start: Annotated[str, typer.Option("-s", "--start", metavar="YYYY-MM-DD", help="First UTC day.")],
    end: Annotated[str, typer.Option("-e", "--end", metavar="YYYY-MM-DD", help="Last UTC day, included.")],
    parquet_root: ParquetRoot = None,
    archive_root: ArchiveRoot = None,
    chatroom: Texts = None,
    from_user: Annotated[
        list[str] | None, typer.Option("--from-user", metavar="TEXT", help="from_username; exact.")
    ] = None,
    sender: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="chatroom_sender when not empty, else from_username; exact."),
    ] = None,
    msg_type: Annotated[
        list[str] | None, typer.Option(metavar="N[,N…]", help="Exact; repeat or list for any of several.")
    ] = None,
    columns: Columns = None,
    limit: Annotated[int | None, typer.Option(help="Rows at most, from 1.")] = None,
    offset: Annotated[int, typer.Option(help="Rows to skip.")] = 0,
    unmask: Unmask = False,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Messages of whole UTC days, ordered by create_time, then msg_id; filters combine with AND."""
    filters: dict[str, Any] = {
        "chatroom": chatroom,
        "from_username": from_user,
        "sender": sender,
        "msg_type": [part.strip() for text in msg_type for part in text.split(",")] if msg_type else None,
    }
    for_people = output is None and not as_json
    with outcome(), opened_lake(parquet_root, archive_root) as lake:
        found = lake.query(
            start,
            end,
            columns=_listed(columns, for_people=for_people),
            limit=_shown(limit) if for_people else limit,
            offset=offset,
            unmask=unmask,
            **{name: given for name, given in filters.items() if given},
        )
        warn(found.warnings)
        if output is not None:
            _report_written(found, output, as_json)
        elif as_json:
            _print_all(found)
        else:
            _print_some(found, offset, limit)


def query_by_id(
    msg_ids: Annotated[list[str], typer.Argument(metavar="ID…", help="msg_ids; unknown ones are left out.")],
    parquet_root: ParquetRoot = None,
    archive_root: ArchiveRoot = None,
    columns: Columns = None,
    unmask: Unmask = False,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """The messages of these ids, once each, in order of time."""
    with outcome(), opened_lake(parquet_root, archive_root) as lake:
        found = lake.query_by_id(
            msg_ids, columns=_listed(columns, for_people=output is None and not as_json), unmask=unmask
        )
        warn(found.warnings)
        if output is not None:
            _report_written(found, output, as_json)
        elif as_json:
            _print_all(found)
        else:
            typer.echo(_counted(found.total))
            print_rows(found.schema.names, _rows(found))


def _shown(limit: int | None) -> int:
    """Of the rows asked for, those that are printed; a limit that makes no sense stays so."""
    return SHOWN_ROWS if limit is None else min(limit, SHOWN_ROWS)


def opened_lake(
    parquet_root: Path | None, archive_root: Path | None, data: Path | None = None
) -> "AbstractContextManager[Lake]":
    """The lake of these roots to be asked, with the errors of a command."""
    from contextlib import contextmanager

    from standalone.memory import prefer_one_allocator

    prefer_one_allocator()
    from ingest_service.errors import BadArgumentError, NotFoundError, StorageIoError, storage_errors
    from query_service.search import local

    @contextmanager
    def opened() -> "Iterator[Lake]":
        where = roots(parquet_root=parquet_root, archive_root=archive_root, data=data)
        with storage_errors("query", where.parquet):
            try:
                with local.Lake(where.parquet, where.archive) as lake:
                    yield lake
            except local.BadQueryError as error:
                raise BadArgumentError(str(error)) from None
            except local.LakeNotFoundError as error:
                raise NotFoundError(str(error)) from None
            except local.LakeUnreadableError as error:
                raise StorageIoError(str(error)) from None

    return opened()


def _listed(columns: str | None, *, for_people: bool) -> list[str] | None:
    if columns is None:
        return _SHOWN_COLUMNS if for_people else None
    return [name.strip() for name in columns.split(",") if name.strip()]


def warn(warnings: Iterable[str]) -> None:
    """Says on stderr what an answer lacks."""
    for warning in warnings:
        sys.stderr.write(f"warning: {warning}\n")


def _report_written(found: "Found", output: Path, as_json: bool) -> None:
    rows = _write_csv(found, output)
    if as_json:
        print_json({"total": found.total, "rows": rows, "file": str(output), "warnings": found.warnings})
    else:
        typer.echo(f"{rows:,} rows written to {output}")


def _write_csv(found: "Found", output: Path) -> int:
    """The rows as CSV; how many."""
    from query_service.search.shape import csv_chunks

    rows = 0

    def counted() -> "Iterator[Any]":
        nonlocal rows
        for batch in found.batches():
            rows += batch.num_rows
            yield batch

    with written(output) as file:
        for chunk in csv_chunks(found.schema, counted()):
            file.write(chunk)
    return rows


def _print_all(found: "Found") -> None:
    """One object with all rows, written as they come."""
    import msgspec

    from query_service.search.shape import json_rows

    encode = msgspec.json.Encoder().encode
    out = sys.stdout
    head = {"total": found.total, "files_opened": found.files_opened, "warnings": found.warnings}
    out.write(f'{encode(head).decode()[:-1]},"items":[')
    separator = ""
    for batch in found.batches():
        for row in json_rows([batch]):
            out.write(separator + encode(row).decode())
            separator = ",\n"
    out.write("]}\n")


def _print_some(found: "Found", offset: int, limit: int | None) -> None:
    typer.echo(_counted(found.total))
    shown = _rows(found)
    print_rows(found.schema.names, shown)
    after = max(0, found.total - offset)
    more = (after if limit is None else min(limit, after)) - len(shown)
    if more > 0:
        typer.echo(f"{more:,} more rows; -o FILE.csv writes all, --json prints them")


def _rows(found: "Found") -> list[dict[str, Any]]:
    from query_service.search.shape import json_rows

    return json_rows(found.batches())


def _counted(total: int) -> str:
    return f"{total:,} {'row' if total == 1 else 'rows'}"
