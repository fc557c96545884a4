"""Reject journal lines of the landing side (LAKE-15, LAKE-33): written before the dead letters are committed.

The dead_letters table is exactly once; a crash between the two repeats a line here.

The door appends to the same file under a lock. Landing takes none: it may be suspended at any moment, and
receiving must never wait for it (LAKE-11). One write to a file opened for appending is whole among other
writers on a local file system.
"""

from __future__ import annotations

import datetime
import os
import pathlib
from collections.abc import Callable, Sequence

import msgspec

from ingest_service.lake.durable import sync_directory
from ingest_service.land.side import DeadLetter, readable


def reject_writer(
    directory: pathlib.Path, now: Callable[[], datetime.datetime]
) -> Callable[[Sequence[DeadLetter]], None]:
    """A function that appends dead letters to the reject journal and returns when they are durable.

    It raises OSError when they are not; a repeat is harmless.
    """

    def write(letters: Sequence[DeadLetter]) -> None:
        moment = now()
        received_at = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        lines = b"".join(_line(letter, received_at) + b"\n" for letter in letters)
        _append_durably(directory / f"{moment:%Y-%m-%d}.jsonl", lines)

    return write


def _append_durably(path: pathlib.Path, lines: bytes) -> None:
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            lines = b"\n" + lines  # ends what a crash or a full disk has torn (LAKE-32)
        written = os.write(descriptor, lines)
        while written < len(lines):  # only when space ends: the next write names the cause
            written += os.write(descriptor, lines[written:])
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    if new:
        sync_directory(path.parent)


def _line(letter: DeadLetter, received_at: str) -> bytes:
    text, base64 = readable(letter.body)
    return msgspec.json.encode(
        {
            "received_at": received_at,
            "request_id": None,
            "client_ip": None,
            "content_type": None,
            "body_length": len(letter.body),
            "body_text": text if base64 is None else None,
            "body_base64": base64,
            "parsed_form": None,
            "error_type": letter.refused.error_type,
            "reason": letter.refused.reason,
            "error_message": letter.refused.message,
            "fields": letter.refused.fields,
            "origin": {
                "door": letter.place.door,
                "journal": letter.place.file,
                "line": letter.place.line,
                "element": letter.element,
            },
            "replay": letter.replay,
        }
    )
