"""Writing what `-o` names."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def written(output: Path) -> Iterator[BinaryIO]:
    """The file to write to. It gets its name when the block ends, whole; where the block raises, what was there
    before stays (LAKE-66). A pipe or device is written as it is. Raises StorageError."""
    from ingest_service.errors import storage_errors

    with storage_errors("write_output", output):
        place = output.expanduser().absolute()
        if place.exists() and not place.is_file():
            with place.open("wb") as file:
                yield file
            return
        place = place.resolve()  # what a link points to is replaced, not the link
        beside = place.with_name(f".{place.name}.tmp")
        try:
            with beside.open("wb") as file:
                yield file
            beside.replace(place)
        finally:
            beside.unlink(missing_ok=True)
