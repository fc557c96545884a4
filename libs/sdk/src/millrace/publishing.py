"""Payloads on their way to the journal, and what became of them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from millrace.errors import InvalidRequestError
from millrace.ingest.v1 import ingest_pb2

Payload = bytes | str | Mapping[str, object]

# One call: what the service makes durable with one write, and far below its message limit of 64 MiB.
MAX_CALL_PAYLOADS = 1_000
MAX_CALL_BYTES = 4 * 1024 * 1024
MAX_PAYLOAD_BYTES = 60 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Accepted:
    """The payload is on stable storage: its place in the door's journals (line from 1)."""

    door: str
    journal: str
    line: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """The payload is no JSON object; it is kept whole in the reject journal, with this reason."""

    error_type: str
    reason: str
    message: str


Outcome = Accepted | Rejected


def encode(payload: Payload) -> bytes:
    """The payload's body: bytes as they are, text as UTF-8, a mapping as JSON.

    Raises InvalidRequestError when it cannot be written as JSON or exceeds 60 MiB.
    """
    try:
        match payload:
            case bytes():
                body = payload
            case str():
                body = payload.encode()
            case _:
                body = msgspec.json.encode(payload)
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"payload cannot be written as JSON: {error}") from error
    if len(body) > MAX_PAYLOAD_BYTES:
        raise InvalidRequestError(f"payload of {len(body)} bytes: Publish takes {MAX_PAYLOAD_BYTES} at most")
    return body


def requests(payloads: Iterable[Payload]) -> Iterator[ingest_pb2.PublishRequest]:
    """The payloads in order, in calls of at most 1,000 payloads and about 4 MiB."""
    batch: list[bytes] = []
    size = 0
    for payload in payloads:
        body = encode(payload)
        if batch and (len(batch) == MAX_CALL_PAYLOADS or size + len(body) > MAX_CALL_BYTES):
            yield ingest_pb2.PublishRequest(payloads=batch)
            batch, size = [], 0
        batch.append(body)
        size += len(body)
    if batch:
        yield ingest_pb2.PublishRequest(payloads=batch)


def outcomes(response: ingest_pb2.PublishResponse) -> list[Outcome]:
    """What became of each payload of a call, in order."""
    return [
        Accepted(result.accepted.door, result.accepted.journal, result.accepted.line)
        if result.HasField("accepted")
        else Rejected(result.rejected.error_type, result.rejected.reason, result.rejected.error_message)
        for result in response.results
    ]
