"""Progress bars on stderr while a command works for long; nothing where stderr is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

T = TypeVar("T")
Step = Callable[[str, int, int], None]
"""What is worked on, which one it is, and of how many."""


@contextmanager
def progress(title: str) -> Iterator[Step]:
    """A function that says what is worked on now."""
    with _bar(title) as (bar, task):
        yield lambda what, number, of: bar.update(task, note=what, completed=number - 1, total=of)


@contextmanager
def count(title: str) -> Iterator[Callable[[int, int | None], None]]:
    """A function that is told how much is done, and of how much where that is known."""
    with _bar(title) as (bar, task):
        yield lambda done, of: bar.update(task, completed=done, total=of)


def counted(items: Iterator[T], title: str) -> Iterator[T]:
    """The same items, counted as they are asked for."""
    with _bar(title) as (bar, task):
        for item in items:
            bar.advance(task)
            yield item


class BytesProgress:
    """How far a run over files is."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar = bar
        self._task = task

    def planned(self, size: int) -> None:
        """So much there is to read at most."""
        self._bar.update(self._task, total=size)

    def advanced(self, size: int) -> None:
        """So much more is done."""
        self._bar.advance(self._task, size)


@contextmanager
def bytes_progress(title: str) -> Iterator[BytesProgress]:
    """Bytes, and how fast they go."""
    with _bar(title, of_bytes=True) as (bar, task):
        yield BytesProgress(bar, task)


@contextmanager
def _bar(title: str, *, of_bytes: bool = False) -> Iterator[tuple[Progress, TaskID]]:
    from rich import progress as rich
    from rich.console import Console

    done: tuple[rich.ProgressColumn, ...] = (
        rich.MofNCompleteColumn(),
        rich.TextColumn("{task.fields[note]}"),
    )
    if of_bytes:
        done = (rich.DownloadColumn(), rich.TransferSpeedColumn(), rich.TimeRemainingColumn())
    console = Console(stderr=True)
    columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), *done, rich.TimeElapsedColumn())
    with rich.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield bar, bar.add_task(title, total=None, note="")
