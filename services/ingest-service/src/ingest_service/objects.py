"""Bodies that are too large for the bus, in the object store that `MILLRACE_OBJECTS` names."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore

from millrace_ports.errors import ConfigurationError, StorageUnavailableError
from millrace_ports.journal.durable import make_directories, sync_directory

_OBJECT_ERRORS = (BaseError, OSError)


def objects_path(url: str) -> Path:
    """Directory that `file:///PATH` names. Raises ConfigurationError that names `MILLRACE_OBJECTS`."""
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise ConfigurationError("MILLRACE_OBJECTS: expected file:///PATH, the directory of large bodies")
    return Path(unquote(parts.path))


class Objects:
    """Objects by path below one directory. Made once and never changed.

    Raises ConfigurationError that names `MILLRACE_OBJECTS`.
    """

    def __init__(self, url: str) -> None:
        self._root = objects_path(url)
        self._store: LocalStore | None = None

    async def keep(self, path: str, body: bytes) -> None:
        """Return when `body` is on stable storage at `path`. What lies there already is left as it is if it
        is as long: a path is only ever given to one body, and a shorter object is what a power cut has left.

        Raises StorageUnavailableError (try again).
        """
        with _translated(f"keep the body {path}"):
            store = await asyncio.to_thread(self._opened)
            try:
                await obstore.put_async(store, path, body, mode="create")
            except AlreadyExistsError:
                if (await obstore.head_async(store, path))["size"] != len(body):
                    await obstore.put_async(store, path, body, mode="overwrite")
            await asyncio.to_thread(_sync, self._root, self._root / path)

    async def read(self, path: str) -> bytes:
        """The body at `path`. Raises FileNotFoundError when there is none, StorageUnavailableError."""
        with _translated(f"read the body {path}"):
            store = await asyncio.to_thread(self._opened)
            found = await obstore.get_async(store, path)
            return bytes(await found.bytes_async())

    def _opened(self) -> LocalStore:
        if self._store is None:
            make_directories(self._root)
            self._store = LocalStore(self._root)
        return self._store


def _sync(root: Path, path: Path) -> None:
    """Make the object and every name on the way to it survive a power cut: the store itself syncs nothing."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    for directory in path.parents:
        sync_directory(directory)
        if directory == root:
            return


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except _OBJECT_ERRORS as error:
        raise StorageUnavailableError(f"cannot {what}: {error}") from error
