"""Records that stand for something that is not on the bus itself. Pure.

Both are an Envelope (header `content-type`: `application/vnd.millrace.envelope`) whose content type says what
its body is:

* `application/vnd.millrace.reference`: the path of the object that holds the payload;
* `application/vnd.millrace.refused`: the path of an object whose content has to become a dead letter, for the
  reason that the headers `error-type`, `reason` and `error-message` give.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ingest_service.land.refusal import Refused
from millrace.events.v1 import envelope_pb2
from millrace_ports.bus.port import Origin, Record

CONTENT_TYPE: Final = "content-type"
ENVELOPE: Final = "application/vnd.millrace.envelope"
REFERENCE: Final = "application/vnd.millrace.reference"
REFUSED: Final = "application/vnd.millrace.refused"

_SOURCE: Final = "wechat"
_TOPIC: Final = "webhook.messages"


def object_path(origin: Origin) -> str:
    """Where the body of this origin lies; the same for every repeat."""
    return f"bodies/{origin.door}/{origin.day.replace('#', '.')}/{origin.line}-{origin.element}"


def reference(record: Record, origin: Origin) -> Record:
    """The record that stands for `record`, whose value lies at the origin's object path."""
    return _standing_for(record, origin, REFERENCE, {"size": str(len(record.value))})


def refused(record: Record, origin: Origin, refusal: Refused) -> Record:
    """The record that makes a dead letter of `record`, whose value lies at the origin's object path."""
    headers = {
        "error-type": refusal.error_type,
        "reason": refusal.reason,
        "error-message": refusal.message,
        "size": str(len(record.value)),
    }
    return _standing_for(record, origin, REFUSED, headers)


def _standing_for(record: Record, origin: Origin, content_type: str, headers: Mapping[str, str]) -> Record:
    key = record.key or b""
    day, _, _ = origin.day.partition("#")
    envelope = envelope_pb2.Envelope(
        event_id=f"{origin.door}/{origin.day}/{origin.line}/{origin.element}",
        source=_SOURCE,
        topic=_TOPIC,
        key=key.decode(),
        received_at_ms=origin.received_at_ms,
        content_type=content_type,
        body=object_path(origin).encode(),
        headers=headers,
        origin=envelope_pb2.Origin(
            journal=envelope_pb2.JournalOrigin(
                door=origin.door, journal=f"{day}.jsonl", line=origin.line, element=origin.element
            )
        ),
    )
    value = envelope.SerializeToString(deterministic=True)
    return Record(value, record.key, {**record.headers, CONTENT_TYPE: ENVELOPE}, origin)
