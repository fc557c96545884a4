"""Records of Kafka that are no payload themselves: an Envelope around one, or around the path of one.

An Envelope is told by its content: a value that is no JSON, decodes as one, and says its content type or source.
Whatever else does not parse is nothing that we know, and lands as a dead letter for what JSON says of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError

from ingest_service.land.places import Place
from ingest_service.land.refusal import Refused
from millrace.events.v1 import envelope_pb2
from millrace_ports.errors import StorageUnavailableError

PAYLOAD: Final = "application/json"
REFERENCE: Final = "application/vnd.millrace.reference"
REFUSED: Final = "application/vnd.millrace.refused"

SOURCES: Final = frozenset({"", "wechat"})
"""Who may have made an event of this topic; a producer need not say."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A payload, and why it is to be refused where its sender has decided so already."""

    body: bytes
    refused: Refused | None = None


Unwrap = Callable[[Place, bytes], Opened | None]
"""What a value that is no JSON holds; None when it is no Envelope.

Raises Refused for an Envelope that we do not know or whose reference leads nowhere, StorageUnavailableError
(retryable) when a relayed body cannot be read where it was kept.
"""


def unwrapper(read: Callable[[str], bytes]) -> Unwrap:
    """An Unwrap that reads bodies by path with `read`.

    `read` raises FileNotFoundError when there is none, ValueError for what is no path, StorageUnavailableError.
    It is called in the thread that builds the batch.
    """

    def unwrap(place: Place, value: bytes) -> Opened | None:
        envelope = _envelope(value)
        if envelope is None or not (place.relayed or place.foreign):
            return None
        kind = envelope.content_type.partition(";")[0].strip().lower()
        if place.relayed:
            # A line of a journal is no Envelope, whatever it looks like; a door's relay puts one around a path.
            return _kept(envelope, kind, place, read) if kind in (REFERENCE, REFUSED) else None
        if kind not in (PAYLOAD, REFERENCE):
            raise _unknown(
                "unknown_content_type", f"content_type {envelope.content_type[:200]!r} is not known"
            )
        if envelope.source not in SOURCES:
            raise _unknown("unknown_source", f"source {envelope.source[:200]!r} is not known")
        if not envelope.body.strip():
            raise _unknown("empty_body", "the body is empty")
        return Opened(envelope.body) if kind == PAYLOAD else _kept(envelope, kind, place, read)

    return unwrap


def _kept(envelope: envelope_pb2.Envelope, kind: str, place: Place, read: Callable[[str], bytes]) -> Opened:
    path = envelope.body.decode("utf-8", "replace")
    try:
        body = read(path)
    except (FileNotFoundError, ValueError, StorageUnavailableError) as error:
        if place.relayed:
            # The relay has stored it before: it comes back, or somebody has to bring it back.
            raise StorageUnavailableError(
                f"MILLRACE_OBJECTS: cannot read the body {path}: {error}"
            ) from error
        # What a stranger points to must not hold up everybody else.
        raise _unknown("unreadable_reference", f"the body {path[:200]!r} cannot be read") from None
    if kind == REFERENCE:
        return Opened(body)
    given = envelope.headers
    return Opened(body, Refused(given["error-type"], given["reason"], given["error-message"]))


def no_objects(place: Place, value: bytes) -> Opened | None:
    """An Unwrap for an installation without an object store."""
    return _without_store(place, value)


def _read_nothing(path: str) -> bytes:
    raise FileNotFoundError(path)


_without_store: Final = unwrapper(_read_nothing)


def _envelope(value: bytes) -> envelope_pb2.Envelope | None:
    try:
        envelope = envelope_pb2.Envelope.FromString(value)
    except DecodeError:
        return None
    return envelope if envelope.content_type or envelope.source else None


def _unknown(reason: str, message: str) -> Refused:
    return Refused("schema_error", reason, message)
