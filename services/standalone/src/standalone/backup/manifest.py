"""What a backup says of itself: every file with size and checksum, written last. A directory without it is no backup.

`manifest.json` is two lines of JSON: the SHA-256 of the second one, and the manifest.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from standalone.backup.errors import BackupError

NAME: Final = "manifest.json"
FORMAT: Final = 1


class Entry(msgspec.Struct, frozen=True):
    """One file: its place below the backup, bytes, checksum and permission bits."""

    path: str
    size: int
    sha256: str
    mode: int


class Manifest(msgspec.Struct, frozen=True):
    """All of a backup.

    `tables` are the versions of the lake's tables, `doors` the identities of the journals by their place, `databases`
    those that were dumped by their server's own program.
    """

    format: int
    made_by: str
    made_at: str
    layout: str
    tables: dict[str, int]
    doors: dict[str, str]
    databases: list[str]
    files: list[Entry]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def by_path(self) -> dict[str, Entry]:
        """The files by their place."""
        return {file.path: file for file in self.files}


class _Head(msgspec.Struct, frozen=True):
    sha256: str


class _Format(msgspec.Struct, frozen=True):
    format: int


def encoded(manifest: Manifest) -> bytes:
    """The content of `manifest.json`."""
    body = msgspec.json.encode(manifest)
    return msgspec.json.encode(_Head(hashlib.sha256(body).hexdigest())) + b"\n" + body


def read(backup: Path) -> Manifest:
    """The manifest of a backup. Raises BackupError: none there, damaged, or of a newer format."""
    path = backup / NAME
    try:
        head, _, body = path.read_bytes().partition(b"\n")
    except (FileNotFoundError, NotADirectoryError):
        raise BackupError(f"{backup} is no backup, or one that was not finished: it has no {NAME}") from None
    except OSError as error:
        raise BackupError(f"cannot read {path}: {error.strerror}") from error
    try:
        if msgspec.json.decode(head, type=_Head).sha256 != hashlib.sha256(body).hexdigest():
            raise BackupError(f"{path} is damaged: its checksum is another one")
        made = msgspec.json.decode(body, type=_Format).format
        if made > FORMAT:
            raise BackupError(
                f"{backup} has format {made}, this Millrace reads {FORMAT}: restore it by a newer Millrace"
            )
        manifest = msgspec.json.decode(body, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BackupError(f"{path} is damaged: {error}") from None
    for file in manifest.files:
        place = PurePosixPath(file.path)
        if place.is_absolute() or ".." in place.parts:
            raise BackupError(f"{path} names a file outside the backup: {file.path}")
    return manifest
