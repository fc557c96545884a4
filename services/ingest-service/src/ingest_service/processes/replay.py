"""`ingest-service replay`: sends journal lines to Kafka again, shows how far it is, and ends."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import datetime
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from ingest_service.compose_relay import compose_replay
from ingest_service.relay.persist import StoppedError
from ingest_service.relay.replay import FIRST, LAST, Point, Replay, Stretch
from ingest_service.relay.settings import RelayTarget
from millrace_runtime.logs import configure_logging
from millrace_runtime.process import run
from millrace_runtime.settings import report_unknown

EX_NOINPUT = 66
"""sysexits.h: there is nothing to read."""

_INTERRUPTED = 130


@dataclasses.dataclass(slots=True)
class _Outcome:
    code: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The range of lines."""
    parser.add_argument(
        "--from",
        dest="first",
        type=partial(_point, default_line=FIRST),
        required=True,
        metavar="YYYY-MM-DD[:LINE]",
        help="first line to send; line 1 of the day without LINE",
    )
    parser.add_argument(
        "--to",
        dest="last",
        type=partial(_point, default_line=LAST),
        metavar="YYYY-MM-DD[:LINE]",
        help="last line to send; the last one of the day without LINE, the last one relayed without --to",
    )
    parser.add_argument(
        "--door",
        help="whose journals, where those of former doors lie beside the door's own (default: its own)",
    )


def main(arguments: argparse.Namespace) -> int:
    """Exit 0: all was sent. 66: no relayed line in the range. 130: stopped before the end."""
    outcome = _Outcome()
    return run(partial(_replay, arguments, outcome)) or outcome.code


async def _replay(arguments: argparse.Namespace, outcome: _Outcome, stop: asyncio.Event) -> None:
    settings = RelayTarget.load()
    configure_logging("ingest-service", "WARNING")
    for line in report_unknown(os.environ, settings.names()):
        _say(line)
    first, last = arguments.first, arguments.last or Point("9999-12-31", LAST)
    async with compose_replay(settings, stop=stop, door=arguments.door) as replay:
        stretches = await replay.stretches(first, last)
        if not stretches:
            _say(f"no journal below {settings.data} has relayed lines in that range")
            outcome.code = EX_NOINPUT
            return
        with _progress(stretches) as progress:
            outcome.code = await _sent_or_stopped(replay.send(stretches, progress), stop)
    _report(replay, stretches, outcome)


async def _sent_or_stopped(sending: Coroutine[Any, Any, None], stop: asyncio.Event) -> int:
    """0 when all is sent, `_INTERRUPTED` when a stop came first: then sending ends at once."""
    work, stopping = asyncio.create_task(sending), asyncio.create_task(stop.wait())
    await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
    interrupted = not work.done()
    for task in (work, stopping):
        task.cancel()
    await asyncio.wait({work, stopping})
    if interrupted:
        return _INTERRUPTED
    try:
        work.result()
    except StoppedError:
        return _INTERRUPTED
    return 0


def _report(replay: Replay, stretches: list[Stretch], outcome: _Outcome) -> None:
    sent = replay.sent
    wanted = sum(stretch.lines for stretch in stretches)
    _say(
        f"{sent.lines:,} of {wanted:,} lines sent again, as {sent.records:,} records, of {len(stretches)} journals"
    )
    if outcome.code == _INTERRUPTED:
        after = (
            f"{sent.up_to.day}:{sent.up_to.line + 1}"
            if sent.up_to
            else f"{stretches[0].day}:{stretches[0].first}"
        )
        _say(f"stopped; go on with --from {after}")


@contextmanager
def _progress(stretches: list[Stretch]) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda lines: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("sending again"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task("", total=sum(stretch.lines for stretch in stretches))
        yield lambda lines: progress.update(task, completed=lines)


def _point(text: str, *, default_line: int) -> Point:
    day, colon, line = text.partition(":")
    try:
        if datetime.date.fromisoformat(day).isoformat() != day:
            raise ValueError
        number = int(line) if colon else default_line
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not YYYY-MM-DD or YYYY-MM-DD:LINE") from None
    if number < 1:
        raise argparse.ArgumentTypeError("lines count from 1")
    return Point(day, number)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
