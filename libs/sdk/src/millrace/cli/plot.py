"""`millrace plot`: how many messages over time, drawn in the terminal."""

import sys
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from millrace.cli.options import Data, PortOffset, installation

if TYPE_CHECKING:
    from millrace.cli.columns_chart import Bucket

MOST_BUCKETS = 100_000


class By(StrEnum):
    """What is counted together."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


_STEP = {By.MINUTE: timedelta(minutes=1), By.HOUR: timedelta(hours=1), By.DAY: timedelta(days=1)}
# Days that are shown when no start is given, the last one included.
_DAYS = {By.MINUTE: 1, By.HOUR: 2, By.DAY: 30}

Texts = Annotated[
    list[str] | None, typer.Option(metavar="TEXT", help="Exact match; repeat for any of several.")
]


def plot(
    by: Annotated[By, typer.Option(help="What is counted together.")] = By.HOUR,
    start: Annotated[
        str,
        typer.Option(
            metavar="YYYY-MM-DD", help="First UTC day; default: 1 day by minute, 2 by hour, 30 by day."
        ),
    ] = "",
    end: Annotated[
        str, typer.Option(metavar="YYYY-MM-DD", help="Last UTC day, included; default: today.")
    ] = "",
    chatroom: Texts = None,
    sender: Texts = None,
    msg_type: Annotated[
        list[str] | None,
        typer.Option(metavar="N[,N…]", help="Exact match; repeat or list for any of several."),
    ] = None,
    height: Annotated[int, typer.Option(min=1, max=100, help="Lines of the drawing.")] = 12,
    as_json: Annotated[bool, typer.Option("--json", help='One object: {"by", "total", "counts"}.')] = False,
    data: Data = None,
    port_offset: PortOffset = 0,
) -> None:
    """Draw how many messages there were by minute, hour or day (UTC)."""
    from millrace.cli.query import whole_numbers
    from millrace.client import Client

    last = _day("end", end) if end else datetime.now(UTC).date()
    first = _day("start", start) if start else last - timedelta(days=_DAYS[by] - 1)
    if first > last:
        raise typer.BadParameter("is after --end", param_hint="--start")
    buckets = (last - first + timedelta(days=1)) // _STEP[by]
    if buckets > MOST_BUCKETS:
        raise typer.BadParameter(
            f"{buckets} {by.value}s are too many to draw: fewer days, or longer ones", param_hint="--by"
        )
    statement = counting(
        by, first, last, chatroom or [], sender or [], whole_numbers("msg_type", msg_type or [])
    )
    with Client(installation=installation(data, port_offset)) as client:
        result = client.sql(statement, limit=max(1, buckets))
    counted = {str(moment): int(count) for moment, count in result.rows}
    shown = filled(by, first, buckets, counted)
    if as_json:
        _write_json(by, shown)
    else:
        from rich.console import Console

        from millrace.cli.columns_chart import chart

        console = Console()
        plain = "utf" not in (sys.stdout.encoding or "").lower()
        for line in chart(shown, by.value, console.width, height, plain=plain):
            sys.stdout.write(line + "\n")
    for warning in result.warnings:
        sys.stderr.write(f"millrace: {warning}\n")


def counting(
    by: By, first: date, last: date, chatrooms: list[str], senders: list[str], msg_types: list[int]
) -> str:
    """The statement that counts."""
    conditions = [f"create_time >= '{first}'", f"create_time < '{last + timedelta(days=1)}'"]
    if chatrooms:
        conditions.append(f"chatroom IN ({_texts(chatrooms)})")
    if senders:
        who = "CASE WHEN chatroom_sender <> '' THEN chatroom_sender ELSE from_username END"
        conditions.append(f"{who} IN ({_texts(senders)})")
    if msg_types:
        conditions.append(f"msg_type IN ({', '.join(map(str, msg_types))})")
    moment = f"strftime(date_trunc('{by.value}', create_time), '%Y-%m-%d %H:%M')"
    return (
        f"SELECT {moment} AS moment, count(*) AS messages FROM messages "  # noqa: S608  quoted above
        f"WHERE {' AND '.join(conditions)} GROUP BY 1 ORDER BY 1"
    )


def filled(by: By, first: date, buckets: int, counted: dict[str, int]) -> "list[Bucket]":
    """Every minute, hour or day with its count, those without messages as well."""
    begin = datetime(first.year, first.month, first.day)  # noqa: DTZ001  a label, UTC as all of them
    moments = (begin + number * _STEP[by] for number in range(buckets))
    return [(moment, counted.get(f"{moment:%Y-%m-%d %H:%M}", 0)) for moment in moments]


def _write_json(by: By, shown: "list[Bucket]") -> None:
    import msgspec

    counts = [{"start": f"{moment:%Y-%m-%dT%H:%M:%SZ}", "messages": count} for moment, count in shown]
    body = {"by": by.value, "total": sum(count for _, count in shown), "counts": counts}
    sys.stdout.write(msgspec.json.encode(body).decode() + "\n")


def _texts(values: list[str]) -> str:
    return ", ".join("'" + value.replace("'", "''") + "'" for value in values)


def _day(option: str, text: str) -> date:
    try:
        if len(text) == 10:
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise typer.BadParameter(f"{text!r} is not a day YYYY-MM-DD", param_hint=f"--{option}")
