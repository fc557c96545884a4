"""What an id says of itself (ID-34, ID-35). Pure: no catalog, no clock."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from id_service.catalog.tag import Algorithm, Tag
from id_service.errors import invalid
from id_service.parse.layout import LARGEST, split
from id_service.segment.ranges import datacenter_of

MAX_ID_CHARS: Final = 256

_DECIMAL: Final = re.compile(r"[1-9][0-9]{0,18}")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_UUID_VERSIONS: Final = {4: Algorithm.UUID_V4, 7: Algorithm.UUID_V7}
_DECIMALS: Final = frozenset({Algorithm.SEGMENT, Algorithm.SNOWFLAKE})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_10000_MS: Final = 253_402_300_800_000


@dataclass(frozen=True, slots=True)
class ParsedId:
    """The answer of ID-35; None where the algorithm does not define a part. `at_ms`: Unix ms."""

    original_id: str
    number: int
    algorithm: Algorithm
    at_ms: int | None = None
    datacenter_id: int | None = None
    worker_id: int | None = None
    sequence: int | None = None
    biz_tag: str | None = None

    @property
    def instant(self) -> datetime | None:
        """When the id was made; None also after the year 9999, which RFC 3339 cannot write."""
        if self.at_ms is None or self.at_ms >= _YEAR_10000_MS:
            return None
        return _EPOCH + timedelta(milliseconds=self.at_ms)


def read_id(text: str, *, tag: Tag | None = None, algorithm: Algorithm | None = None) -> ParsedId:
    """Read `text`, after the prefix of `tag` where one is given.

    A UUID is read by its version. A decimal is read as `algorithm` says, else as the tag says, else by
    its range: that of a data centre's segment, or snowflake.

    Raises:
        ServiceError: INVALID_REQUEST when it is no id, or none of `algorithm`, or none of the tag.
    """
    if not 1 <= len(text) <= MAX_ID_CHARS:
        raise invalid("id", f"must have 1 to {MAX_ID_CHARS} characters")
    prefix = tag.prefix if tag else ""
    if not text.startswith(prefix):
        raise invalid("id", f"does not begin with the tag's prefix {prefix}")
    body = text.removeprefix(prefix)
    if _UUID.fullmatch(body):
        parsed = _read_uuid(text, int(body.replace("-", ""), 16))
    elif _DECIMAL.fullmatch(body) and int(body) <= LARGEST:
        own = tag.algorithm if tag and tag.algorithm in _DECIMALS else None
        parsed = _read_decimal(text, int(body), algorithm or own)
    else:
        raise invalid("id", f"neither a UUID nor a decimal from 1 to {LARGEST}")
    if algorithm not in (None, parsed.algorithm):
        raise invalid("id", f"not an id of {algorithm}")
    return replace(parsed, biz_tag=tag.name.biz_tag) if tag else parsed


def _read_uuid(text: str, value: int) -> ParsedId:
    algorithm = _UUID_VERSIONS.get((value >> 76) & 0xF)
    if algorithm is None or (value >> 62) & 0b11 != 0b10:
        raise invalid("id", "a UUID of another version than 4 and 7")
    return ParsedId(text, value, algorithm, at_ms=value >> 80 if algorithm is Algorithm.UUID_V7 else None)


def _read_decimal(text: str, number: int, algorithm: Algorithm | None) -> ParsedId:
    datacenter_id = datacenter_of(number)
    if algorithm is Algorithm.SEGMENT or (algorithm is None and datacenter_id is not None):
        if datacenter_id is None:
            raise invalid("id", "outside the segment range of every data centre")
        return ParsedId(text, number, Algorithm.SEGMENT, datacenter_id=datacenter_id)
    parts = split(number)
    return ParsedId(
        text,
        number,
        Algorithm.SNOWFLAKE,
        at_ms=parts.at_ms,
        datacenter_id=parts.datacenter_id,
        worker_id=parts.worker_id,
        sequence=parts.sequence,
    )
