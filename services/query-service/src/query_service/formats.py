"""Which of the offered formats a request's Accept header asks for."""

from enum import Enum

from millrace_runtime.errors import ServiceError
from query_service.search.request import refusal


class Format(Enum):
    """The formats of an answer, by media type; the first is the default."""

    JSON = "application/json"
    CSV = "text/csv"
    ARROW = "application/vnd.apache.arrow.stream"


def accepted(header: str | None) -> Format:
    """The format with the highest weight; the default when there is no header or it accepts anything.

    Raises `ServiceError` INVALID_REQUEST naming Accept when it accepts none of the formats.
    """
    if header is None or not header.strip():
        return Format.JSON
    ranges = [_media_range(part) for part in header.split(",") if part.strip()]
    weights = {offered: _weight(offered.value, ranges) for offered in Format}
    best = max(Format, key=lambda offered: weights[offered])  # the first of equals
    if weights[best] <= 0:
        raise _not_offered()
    return best


def _media_range(text: str) -> tuple[str, float]:
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, float(value)
            except ValueError:
                raise refusal("Accept", "has a weight that is not a number") from None
    return name, 1.0


def _weight(media_type: str, ranges: list[tuple[str, float]]) -> float:
    """The weight of the most specific range that covers the type; 0 without one."""
    for covering in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        for name, weight in ranges:
            if name == covering:
                return weight
    return 0.0


def _not_offered() -> ServiceError:
    return refusal("Accept", "offered are " + ", ".join(offered.value for offered in Format))
