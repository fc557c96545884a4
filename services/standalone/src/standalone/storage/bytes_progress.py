"""A progress bar in bytes, on a terminal's stderr, and nothing elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class BytesProgress:
    """How far a run over journals is."""

    def __init__(self, bar: "Progress", task: "TaskID") -> None:
        self._bar = bar
        self._task = task

    def planned(self, size: int) -> None:
        """So much there is to read at most."""
        self._bar.update(self._task, total=size)

    def advanced(self, size: int) -> None:
        """So much more is done."""
        self._bar.advance(self._task, size)


@contextmanager
def bytes_progress(what: str) -> Iterator[BytesProgress]:
    """Shown while the block runs."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield BytesProgress(bar, bar.add_task(what, total=None))
