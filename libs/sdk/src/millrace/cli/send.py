"""`millrace send`: NDJSON into the journal, in order, acknowledged batch by batch."""

import gzip
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from millrace.cli.options import Data, PortOffset, installation
from millrace.errors import InvalidRequestError, MillraceError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from millrace.client import Client

SHOWN_REFUSALS = 20
_GZIP_MAGIC = b"\x1f\x8b"


def send(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="NDJSON file, also .gz; - reads stdin.")],
    data: Data = None,
    port_offset: PortOffset = 0,
) -> None:
    """Send webhook payloads, one JSON object a line; exit 0 only if all were accepted.

    Each is on stable storage when it is counted. Lines that are no JSON object are kept in the
    reject journal and listed here.
    """
    from millrace.client import Client

    target = installation(data, port_offset)
    with _open(file) as source, Client(installation=target) as client:
        tally = _Tally()
        try:
            _send_all(client, source, _size(file), tally)
        except MillraceError as error:
            sys.stderr.write(tally.interrupted())
            raise error from error.__cause__
        except (OSError, EOFError, zlib.error) as error:
            sys.stderr.write(tally.interrupted())
            raise MillraceError(f"cannot read {file}: {error}") from error
        except KeyboardInterrupt:
            sys.stderr.write(tally.interrupted())
            raise
    raise typer.Exit(0 if tally.refused == 0 else 1)


@dataclass
class _Tally:
    """What has been acknowledged so far; `line` is the last acknowledged physical line."""

    accepted: int = 0
    refused: int = 0
    line: int = 0
    refusals: list[str] = field(default_factory=list)

    def refuse(self, line: int, why: str) -> None:
        self.refused += 1
        if len(self.refusals) < SHOWN_REFUSALS:
            self.refusals.append(f"line {line}: {why}")

    def interrupted(self) -> str:
        return (
            f"stopped after line {self.line}: {self.accepted} accepted, {self.refused} refused; "
            "later lines have no acknowledgement, sending the file again is harmless\n"
        )


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    body: bytes
    # Bytes of the file consumed when the line was read; for the progress bar alone.
    position: int


def _send_all(client: "Client", source: BufferedReader, size: int | None, tally: _Tally) -> None:
    from rich.console import Console

    console = Console(stderr=True)
    with _progress(console) as progress:
        task = progress.add_task("sending", total=size, rate=0.0)
        for batch in _batches(read_lines(source)):
            _send_batch(client, batch, tally)
            _show(progress, task, batch[-1].position, tally)
        elapsed = progress.tasks[task].elapsed or 0.0
    for refusal in tally.refusals:
        console.print(refusal, markup=False, highlight=False, soft_wrap=True)
    if tally.refused > len(tally.refusals):
        console.print(f"… and {tally.refused - len(tally.refusals)} more", markup=False, highlight=False)
    rate = tally.accepted / elapsed if elapsed > 0 else 0.0
    total = tally.accepted + tally.refused
    console.print(
        f"{tally.accepted} of {total} accepted, {tally.refused} refused, {rate:,.0f}/s",
        highlight=False,
    )


def _send_batch(client: "Client", batch: list[_Line], tally: _Tally) -> None:
    from millrace.publishing import Accepted

    sendable = [line for line in batch if _fits(line, tally)]
    answers = client.publish([line.body for line in sendable])
    for line, answer in zip(sendable, answers, strict=True):
        if isinstance(answer, Accepted):
            tally.accepted += 1
        else:
            tally.refuse(
                line.number, f"{answer.reason}: {answer.message}" if answer.message else answer.reason
            )
    tally.line = batch[-1].number


def _fits(line: _Line, tally: _Tally) -> bool:
    from millrace.publishing import encode

    try:
        encode(line.body)
    except InvalidRequestError as error:
        tally.refuse(line.number, str(error))
        return False
    return True


def _batches(lines: Iterator[_Line]) -> Iterator[list[_Line]]:
    """Runs of lines that make one call each."""
    from millrace.publishing import MAX_CALL_BYTES, MAX_CALL_PAYLOADS

    batch: list[_Line] = []
    size = 0
    for line in lines:
        if batch and (len(batch) == MAX_CALL_PAYLOADS or size + len(line.body) > MAX_CALL_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line.body)
    if batch:
        yield batch


def read_lines(source: BufferedReader) -> Iterator[_Line]:
    """The lines that are not blank, with their physical numbers from 1; gzip is told by its first bytes."""
    packed = source.peek(2)[:2] == _GZIP_MAGIC
    text: Iterable[bytes] = gzip.GzipFile(fileobj=source) if packed else source
    read = 0
    for number, line in enumerate(text, 1):
        read += len(line)
        if body := line.strip():
            yield _Line(number, body, source.tell() if packed and source.seekable() else read)


def _open(file: str) -> BufferedReader:
    if file == "-":
        return cast("BufferedReader", sys.stdin.buffer)
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise MillraceError(f"cannot read {file}: {error.strerror}") from error


def _size(file: str) -> int | None:
    return None if file == "-" else Path(file).stat().st_size or None


def _progress(console: object) -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    assert isinstance(console, Console)
    return Progress(
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.description}"),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _show(progress: "Progress", task: "TaskID", position: int, tally: _Tally) -> None:
    elapsed = progress.tasks[task].elapsed or 0.0
    refused = f", {tally.refused} refused" if tally.refused else ""
    progress.update(
        task,
        completed=position,
        description=f"{tally.accepted:,} accepted{refused}",
        rate=tally.accepted / elapsed if elapsed > 0 else 0.0,
    )
