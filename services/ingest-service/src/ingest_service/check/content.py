"""Reading data files batch by batch, where any of them may be damaged."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 65_536


class UnreadableFileError(Exception):
    """A data file is empty, gone, not to be opened or damaged; the text says which, without the file's name."""


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[pq.ParquetFile]:
    """The file. Raises UnreadableFileError, also for what is found damaged while it is read."""
    try:
        if path.stat().st_size == 0:
            raise UnreadableFileError("is empty (0 bytes)")
        with pq.ParquetFile(path) as file:
            yield file
    except FileNotFoundError:
        raise UnreadableFileError("is missing") from None
    except PermissionError:
        raise UnreadableFileError("may not be read") from None
    except (pa.ArrowException, OSError) as error:
        raise UnreadableFileError(f"cannot be read: {str(error).splitlines()[0]}") from error


def batches(file: pq.ParquetFile, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows, with these columns or all."""
    yield from file.iter_batches(BATCH_ROWS, columns=None if columns is None else list(columns))
