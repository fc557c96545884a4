"""Lines of the reject journal: bodies that are no JSON objects, kept whole (`LAKE-12`, `13`, `15`)."""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import parse_qsl

import msgspec

from ingest_service.jsontext import NotAnObject

_FORM = "application/x-www-form-urlencoded"
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Sender:
    """What is known of who sent a body; `content_type` is as sent."""

    request_id: str
    client_ip: str | None
    content_type: str | None = None


def reject_line(body: bytes, refusal: NotAnObject, sender: Sender, *, received_at_ms: int) -> bytes:
    """One line with all fields of `LAKE-15`, without its end; the body is in it completely."""
    text, encoded = _readable(body)
    return _encode(
        {
            "received_at": iso_ms(received_at_ms),
            "request_id": sender.request_id,
            "client_ip": sender.client_ip,
            "content_type": sender.content_type,
            "body_length": len(body),
            "body_text": text,
            "body_base64": encoded,
            "parsed_form": _parsed_form(body, sender.content_type),
            "error_type": refusal.error_type,
            "reason": refusal.reason,
            "error_message": refusal.message,
        }
    )


def iso_ms(unix_ms: int) -> str:
    """ISO 8601 in UTC with milliseconds and `Z`."""
    return f"{_iso_second(unix_ms // 1000)}.{unix_ms % 1000:03d}Z"


@lru_cache(maxsize=8)
def _iso_second(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _readable(body: bytes) -> tuple[str | None, str | None]:
    """The body as text, or as base64 when it is not UTF-8."""
    try:
        return body.decode(), None
    except UnicodeDecodeError:
        return None, base64.b64encode(body).decode("ascii")


def _parsed_form(body: bytes, content_type: str | None) -> dict[str, str] | None:
    """First value of each key of a form body; None when the body is not said to be a form."""
    if content_type is None or content_type.partition(";")[0].strip().lower() != _FORM:
        return None
    form: dict[str, str] = {}
    for key, value in parse_qsl(body.decode(errors="replace"), keep_blank_values=True, errors="replace"):
        form.setdefault(key, value)
    return form
