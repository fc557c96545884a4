"""`millrace sql`: one statement, or a prompt for several."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from millrace.cli.options import Data, PortOffset, installation

if TYPE_CHECKING:
    from millrace.client import Client
    from millrace.sql import SqlResult

# Rows of a table when no limit is given; JSON and CSV have the service's default.
TABLE_ROWS = 100


def sql(
    statement: Annotated[
        str, typer.Argument(metavar="[QUERY]", help="One statement; without it, a prompt (or stdin).")
    ] = "",
    limit: Annotated[
        int | None,
        typer.Option(min=1, help=f"Rows at most; default: {TABLE_ROWS} in a table, else the service's."),
    ] = None,
    unmask: Annotated[bool, typer.Option("--unmask", help="Clear values; needs lake:unmask.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help='One object: {"columns", "rows", "truncated", …}.')
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header line.")] = False,
    data: Data = None,
    port_offset: PortOffset = 0,
) -> None:
    """Ask messages, contacts, other and dead_letters by SQL (DuckDB's), read-only.

    The prompt takes statements that end with `;` and lists its commands with `\\?`.
    """
    from millrace.client import Client

    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")
    with Client(installation=installation(data, port_offset)) as client:
        if statement:
            write_answer(
                client,
                statement,
                form="json" if as_json else "csv" if as_csv else "table",
                limit=limit,
                unmask=unmask,
            )
            return
        from millrace.cli.prompt import Prompt

        form = "json" if as_json else "csv" if as_csv else "table"
        prompt = Prompt(client, form=form, limit=limit, unmask=unmask)
        raise typer.Exit(prompt.interactive() if sys.stdin.isatty() else prompt.read_all(sys.stdin))


def write_answer(client: "Client", statement: str, *, form: str, limit: int | None, unmask: bool) -> None:
    """Ask, and write the answer to stdout; what there is to say about it goes to stderr."""
    if form == "csv":
        text = client.sql_csv(statement, limit=limit, unmask=unmask)
        sys.stdout.flush()
        sys.stdout.buffer.write(text.body)
        sys.stdout.buffer.flush()
        tell(text.truncated, text.warnings)
        return
    if form == "json":
        import msgspec

        result = client.sql(statement, limit=limit, unmask=unmask)
        encoder = msgspec.json.Encoder(decimal_format="number")
        body = {
            "columns": [
                {"name": name, "type": kind} for name, kind in zip(result.columns, result.types, strict=True)
            ],
            "rows": result.rows,
            "truncated": result.truncated,
            "elapsed_ms": result.elapsed_ms,
            "warnings": result.warnings,
        }
        sys.stdout.write(encoder.encode(body).decode() + "\n")
        tell(result.truncated, result.warnings)
        return
    result = client.sql(statement, limit=limit or TABLE_ROWS, unmask=unmask)
    write_result(result)
    tell(False, result.warnings)


def tell(truncated: bool, warnings: tuple[str, ...]) -> None:
    """What is missing from an answer."""
    if truncated:
        sys.stderr.write("millrace: there are more rows; --limit gives more\n")
    for warning in warnings:
        sys.stderr.write(f"millrace: {warning}\n")


def write_result(result: "SqlResult", *, timing: bool = True) -> None:
    """A table for people, or each row as a list where there are more columns than the terminal is wide."""
    from rich.console import Console

    from millrace.cli.result_table import plan_lines, records, table

    console = Console()
    if (plan := plan_lines(result)) is not None:
        sys.stdout.write(plan + "\n")
    else:
        fitting = table(result, console.width)
        console.print(records(result) if fitting is None else fitting, crop=False)
    count = len(result.rows)
    more = " shown, there are more: \\limit or --limit" if result.truncated else ""
    took = f", {result.elapsed_ms} ms" if timing else ""
    console.print(f"{count} row{'' if count == 1 else 's'}{more}{took}", highlight=False, markup=False)
