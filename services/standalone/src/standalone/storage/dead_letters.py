"""`millrace dead-letters list|show|replay`: what could not become a row, why, and another try after a fix (LAKE-91).

They work on the files of the lake, beside running services or without any, whatever the bus is.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from millrace.cli.options import Data
from standalone.storage.outcome import outcome, print_json
from standalone.storage.query import Unmask, opened_lake, warn
from standalone.storage.roots import ArchiveRoot, Json, ParquetRoot, RawDir, roots
from standalone.storage.rows import print_rows

if TYPE_CHECKING:
    from ingest_service.letters.replay import Replayed
    from query_service.search.letter_request import LetterSearch
    from query_service.search.local import Found

COMMAND = "millrace dead-letters"
EX_DATAERR = 65

_SHOWN_COLUMNS = ("ingestion_time", "id", "error_type", "reason", "landed", "error_message")

dead_letters = typer.Typer(
    help="What could not become a row: list it, look at it, and land it after a fix.", no_args_is_help=True
)

Start = Annotated[
    str | None, typer.Option("-s", "--start", metavar="YYYY-MM-DD", help="First UTC day of landing.")
]
End = Annotated[
    str | None, typer.Option("-e", "--end", metavar="YYYY-MM-DD", help="Last UTC day of landing, included.")
]
_Texts = list[str] | None
ErrorType = Annotated[
    _Texts, typer.Option("--error-type", metavar="TEXT", help="Exact; repeat for any of several.")
]
Reason = Annotated[_Texts, typer.Option("--reason", metavar="TEXT", help="Exact; repeat for any of several.")]
Door = Annotated[_Texts, typer.Option("--door", metavar="TEXT", help="src_door; exact, may be repeated.")]
File = Annotated[
    _Texts, typer.Option("--file", metavar="YYYY-MM-DD.jsonl", help="src_file; exact, may be repeated.")
]


@dead_letters.command("list")
def list_(
    start: Start = None,
    end: End = None,
    error_type: ErrorType = None,
    reason: Reason = None,
    door: Door = None,
    file: File = None,
    landed: Annotated[
        bool | None,
        typer.Option(
            "--landed/--not-landed", help="Only those whose rows are there by now, or none of them."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(help="Letters at most, from 1 to 10,000.")] = 100,
    offset: Annotated[int, typer.Option(help="Letters to skip.")] = 0,
    data: Data = None,
    parquet_root: ParquetRoot = None,
    archive_root: ArchiveRoot = None,
    unmask: Unmask = False,
    as_json: Json = False,
) -> None:
    """Dead letters in the order in which they were landed; filters combine with AND."""
    named = {"error_type": error_type, "reason": reason, "door": door, "file": file}
    with _asked(parquet_root, archive_root, data) as ask:
        from query_service.search.letter_request import checked_letters

        search = _checked(
            lambda: checked_letters(
                start,
                end,
                {name: values for name, values in named.items() if values},
                landed=landed,
                limit=limit,
                offset=offset,
                unmask=unmask,
            )
        )
        found = ask(search)
        letters = _rows(found)
        if as_json:
            print_json({"total": found.total, "items": letters, "warnings": found.warnings})
            return
        typer.echo(f"{found.total:,} {'dead letter' if found.total == 1 else 'dead letters'}")
        print_rows(_SHOWN_COLUMNS, letters)
        more = found.total - offset - len(letters)
        if more > 0:
            typer.echo(f"{more:,} more; --offset {offset + len(letters)} shows the next ones")


@dead_letters.command()
def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="door/file/line/element, as `list` shows it.")],
    data: Data = None,
    parquet_root: ParquetRoot = None,
    archive_root: ArchiveRoot = None,
    unmask: Unmask = False,
    as_json: Json = False,
) -> None:
    """One dead letter, whole. Without --unmask, telephone numbers and customInfo.detail in its body are hidden, and
    a body that is no JSON object is not shown."""
    with _asked(parquet_root, archive_root, data) as ask:
        from ingest_service.errors import NotFoundError
        from query_service.search.letter_request import one_letter

        found = ask(_checked(lambda: one_letter(id, unmask=unmask)))
        letters = _rows(found)
        if not letters:
            raise NotFoundError(f"no dead letter is of the origin {id}")
        if as_json:
            print_json({"items": letters, "warnings": found.warnings})
            return
        for letter in letters:
            for name, value in letter.items():
                if value is not None:
                    typer.echo(f"{name:15} {value}")


@dead_letters.command()
def replay(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID…]", help="Letters by their ids; or give conditions.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every letter.")] = False,
    start: Start = None,
    end: End = None,
    error_type: ErrorType = None,
    reason: Reason = None,
    door: Door = None,
    file: File = None,
    body: Annotated[
        Path | None,
        typer.Option(
            "--body", metavar="FILE", help="A mended payload in place of the one letter's; - is stdin."
        ),
    ] = None,
    data: Data = None,
    parquet_root: ParquetRoot = None,
    raw_dir: RawDir = None,
    as_json: Json = False,
) -> None:
    """Land letters that can become rows by now, each exactly once, however often this is done.

    Each keeps the origin that it had. Exit codes: 0 all of them have rows, 65 some are refused again, 66 there are
    no such letters; and those of `millrace storage`.
    """
    with outcome(COMMAND):
        from ingest_service.letters.choice import choice
        from ingest_service.letters.replay import replay as land

        wanted = choice(
            ids=ids,
            everything=all_,
            start=start,
            end=end,
            error_type=error_type,
            reason=reason,
            door=door,
            file=file,
        )
        places = roots(parquet_root=parquet_root, raw_dir=raw_dir, data=data)
        mended = None if body is None else _read(body)
        with _progress() as progress:
            done = land(wanted, places.parquet, places.raw, body=mended, progress=progress)
        if as_json:
            print_json(asdict(done))
        else:
            _report(done)
    if done.refused:
        raise typer.Exit(EX_DATAERR)


@contextmanager
def _asked(parquet_root: Path | None, archive_root: Path | None, data: Path | None) -> Iterator[Any]:
    """A function that answers a search, its warnings said."""
    with outcome(COMMAND), opened_lake(parquet_root, archive_root, data) as lake:

        def ask(search: "LetterSearch") -> "Found":
            found = lake.dead_letters(search)
            warn(found.warnings)
            return found

        yield ask


def _checked(make: Any) -> "LetterSearch":
    """The search, or the bad argument that stands in the way of it."""
    from ingest_service.errors import BadArgumentError
    from millrace_runtime.errors import ServiceError

    try:
        search: LetterSearch = make()
    except ServiceError as error:
        raise BadArgumentError(error.message) from None
    return search


def _rows(found: "Found") -> list[dict[str, Any]]:
    from query_service.search.shape import json_rows

    return json_rows(found.batches())


def _read(body: Path) -> bytes:
    from ingest_service.errors import storage_errors

    if str(body) == "-":
        return sys.stdin.buffer.read()
    with storage_errors("read_body", body):
        return body.expanduser().read_bytes()


@contextmanager
def _progress() -> Iterator[Any]:
    from standalone.storage.progress import progress

    with progress("landing letters") as step:
        yield lambda done, of: step("", done + 1, of)


def _report(done: "Replayed") -> None:
    typer.echo(
        f"{done.selected:,} letters: {done.landed:,} landed, {done.already_landed:,} had landed before, "
        f"{done.refused:,} refused"
    )
    for reason, count in done.reasons.most_common():
        typer.echo(f"  {count:,}  {reason}")
    for letter in done.still_refused[:10]:
        typer.echo(f"  {letter.id}: {letter.error_message}")
