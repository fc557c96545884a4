"""A bar on stderr while something long goes on, where somebody sees it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """Yields what is to be told how much is done, and of how much; nothing is drawn unless stderr is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)


def advancing(items: Iterator[T], what: str) -> Iterator[T]:
    """The same items, counted in a bar as they are asked for."""
    with bar(what) as tell:
        for number, item in enumerate(items, 1):
            tell(number, None)
            yield item
