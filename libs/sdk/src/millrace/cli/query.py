"""`millrace query`: messages of some days as a table, JSON or CSV."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from millrace.cli.options import Data, PortOffset, installation

if TYPE_CHECKING:
    from millrace.cli.classified import Classified
    from millrace.client import Client
    from millrace.installation import Installation
    from millrace.messages import Filters, Message, Page

# Rows of one call; more are fetched page by page.
PAGE_ROWS = 5_000
# Rows of a table when no limit is given; JSON and CSV give all.
TABLE_ROWS = 20

Texts = Annotated[
    list[str] | None, typer.Option(metavar="TEXT", help="Exact match; repeat for any of several.")
]
Numbers = Annotated[
    list[str] | None, typer.Option(metavar="N[,N…]", help="Exact match; repeat or list for any of several.")
]


def query(
    start: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="First UTC day.")],
    end: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="Last UTC day, included.")],
    chatroom: Texts = None,
    from_username: Texts = None,
    to_username: Texts = None,
    chatroom_sender: Texts = None,
    guid: Texts = None,
    sender: Texts = None,
    msg_type: Numbers = None,
    is_chatroom_msg: Numbers = None,
    notify_type: Numbers = None,
    columns: Annotated[str, typer.Option(metavar="A,B,…", help="Columns in this order; default: all.")] = "",
    limit: Annotated[
        int | None, typer.Option(min=1, help=f"Rows at most; default: {TABLE_ROWS} in the table, else all.")
    ] = None,
    offset: Annotated[int, typer.Option(min=0, help="Rows to skip.")] = 0,
    unmask: Annotated[bool, typer.Option("--unmask", help="Clear values; needs lake:unmask.")] = False,
    classify: Annotated[
        bool,
        typer.Option(
            "--classify", help="Add what the content is: category, filter reason, text of app messages, …"
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help='One object: {"total", "items"}.')] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header line.")] = False,
    data: Data = None,
    port_offset: PortOffset = 0,
) -> None:
    """Show messages ordered by time, then msg_id; filters combine with AND."""
    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")
    texts = {
        "chatroom": chatroom,
        "from_username": from_username,
        "to_username": to_username,
        "chatroom_sender": chatroom_sender,
        "guid": guid,
        "sender": sender,
    }
    numbers = {"msg_type": msg_type, "is_chatroom_msg": is_chatroom_msg, "notify_type": notify_type}
    filters = cast(
        "Filters",
        {name: given for name, given in texts.items() if given}
        | {name: whole_numbers(name, given) for name, given in numbers.items() if given},
    )
    chosen = tuple(name.strip() for name in columns.split(",") if name.strip())
    _answer(
        _Question(start, end, filters, chosen, limit, offset, unmask, classify),
        "json" if as_json else "csv" if as_csv else "table",
        installation(data, port_offset),
    )


@dataclass(frozen=True, slots=True)
class _Question:
    start: str
    end: str
    filters: "Filters"
    columns: tuple[str, ...]
    limit: int | None
    offset: int
    unmask: bool
    classify: bool

    def page(self, client: "Client", offset: int, limit: int) -> "Page":
        from millrace.cli.classified import read_columns

        return client.search(
            self.start,
            self.end,
            columns=read_columns(self.columns) if self.classify else self.columns,
            limit=limit,
            offset=offset,
            unmask=self.unmask,
            **self.filters,
        )


def _answer(question: _Question, form: Literal["table", "json", "csv"], target: "Installation") -> None:
    from millrace.cli import classified, rendering
    from millrace.client import Client
    from millrace.messages import COLUMNS

    table: tuple[str, ...] = ()
    every: tuple[str, ...] = COLUMNS
    if question.classify:
        table, every = classified.TABLE, (*COLUMNS, *classified.COLUMNS)
    with Client(installation=target) as client:
        if form == "table":
            limit = TABLE_ROWS if question.limit is None else question.limit
            found = Found(question, client, limit)
            rendering.write_table(found.total, list(found.shown()), question.columns or table)
            return
        found = Found(question, client, question.limit)
        columns = question.columns or every
        if form == "json":
            rendering.write_json(found.total, found.shown(), columns)
        else:
            rendering.write_csv(found.shown(), columns)


class Found:
    """The rows of a question, fetched page by page as they are used; `total` as of the first page."""

    def __init__(self, question: _Question, client: "Client", limit: int | None) -> None:
        self._question, self._client, self._limit = question, client, limit
        self._first = question.page(client, question.offset, self._wanted(0))
        self.total = self._first.total

    def shown(self) -> "Iterator[Message | Classified]":
        """The rows, classified where that was asked for."""
        from millrace.cli.classified import classified

        return classified(self.rows()) if self._question.classify else self.rows()

    def rows(self) -> "Iterator[Message]":
        """The rows as they are stored."""
        given, page = 0, self._first
        while page.items:
            yield from page.items
            given += len(page.items)
            if self._question.offset + given >= self.total or given == self._limit:
                return
            page = self._question.page(self._client, self._question.offset + given, self._wanted(given))

    def _wanted(self, given: int) -> int:
        return PAGE_ROWS if self._limit is None else min(PAGE_ROWS, self._limit - given)


def whole_numbers(name: str, given: list[str]) -> list[int]:
    """The numbers of an option that may be repeated and listed; BadParameter naming it."""
    try:
        return [int(number) for text in given for number in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"{', '.join(given)!r} is not a list of whole numbers", param_hint=f"--{name.replace('_', '-')}"
        ) from None
