"""A question in SQL, checked as far as its shape goes; every refusal names the parameter."""

from dataclasses import dataclass

import msgspec

from query_service.search.request import refusal

MAX_TEXT_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Question:
    """One statement. `rows`: at most so many in the answer."""

    text: str
    rows: int
    unmask: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What one question may take."""

    rows: int = 10_000
    max_rows: int = 100_000
    time_s: float = 10.0
    answer_bytes: int = 64 << 20


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sql: str
    limit: int | None = None
    unmask: bool = False


def parse_body(body: bytes, limits: Limits) -> Question:
    """The question of an HTTP body: `{"sql": …, "limit": …, "unmask": …}`. Raises `ServiceError`."""
    try:
        given = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise refusal("body", f'must be {{"sql": "…", "limit": 100, "unmask": false}}: {error}') from None
    return checked_question(given.sql, given.limit, unmask=given.unmask, limits=limits)


def checked_question(text: str, limit: int | None, *, unmask: bool, limits: Limits) -> Question:
    """The question, if its parts make sense. Raises `ServiceError` INVALID_REQUEST naming the one that does not."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise refusal("sql", "is not text in UTF-8") from None
    if not text.strip():
        raise refusal("sql", "is empty")
    if size > MAX_TEXT_BYTES:
        raise refusal("sql", f"is longer than {MAX_TEXT_BYTES} bytes")
    if "\0" in text:
        raise refusal("sql", "has a NUL character")
    rows = limits.rows if limit is None else limit
    if not 1 <= rows <= limits.max_rows:
        raise refusal("limit", f"must be 1 to {limits.max_rows}")
    return Question(text, rows, unmask)
