"""Messages as the lake answers them, and the filters that choose them (LAKE section 9)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypedDict, Unpack

import msgspec

from millrace.errors import InvalidRequestError
from millrace.query.v1 import query_pb2

Day = date | str
Strings = str | Sequence[str]
Ints = int | Sequence[int]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = ("create_time", "ingestion_time")


class Filters(TypedDict, total=False):
    """Filters combine with AND; one value or a list of which any fits; an empty list fits no row."""

    chatroom: Strings
    from_username: Strings
    to_username: Strings
    chatroom_sender: Strings
    guid: Strings
    # chatroom_sender when not empty, else from_username
    sender: Strings
    msg_type: Ints
    is_chatroom_msg: Ints
    notify_type: Ints


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the messages dataset; a column that was not asked for is None. Times are UTC."""

    msg_id: str | None = None
    from_username: str | None = None
    to_username: str | None = None
    chatroom: str | None = None
    chatroom_sender: str | None = None
    msg_type: int | None = None
    create_time: datetime | None = None
    is_chatroom_msg: int | None = None
    content: str | None = None
    desc: str | None = None
    source: str | None = None
    guid: str | None = None
    notify_type: int | None = None
    ingestion_time: datetime | None = None
    extra_fields: str | None = None
    schema_version: int | None = None
    src_door: str | None = None
    src_file: str | None = None
    src_line: int | None = None
    src_element: int | None = None
    year: int | None = None
    month: int | None = None
    day: int | None = None

    @classmethod
    def of(cls, row: query_pb2.Message) -> "Message":
        values: dict[str, Any] = {field.name: value for field, value in row.ListFields()}
        for name in _TIMES:
            if name in values:
                values[name] = _EPOCH + timedelta(seconds=values[name])
        return cls(**values)


COLUMNS = Message.__struct_fields__


@dataclass(frozen=True, slots=True)
class Page:
    """Some of `total` rows, ordered by create_time, then msg_id as text."""

    total: int
    items: list[Message]

    @classmethod
    def of(cls, answer: query_pb2.SearchResponse) -> "Page":
        return cls(answer.total, [Message.of(row) for row in answer.items])


def message_filter(start: Day, end: Day, **filters: Unpack[Filters]) -> query_pb2.MessageFilter:
    """Whole UTC days from `start` to `end`, both included (`YYYY-MM-DD`), and the filters.

    Raises InvalidRequestError for a filter or a value that the contract has no place for; the days
    are checked by the service.
    """
    known = Filters.__annotations__
    if unknown := sorted(set(filters) - set(known)):
        raise InvalidRequestError(f"unknown filter {unknown[0]!r}; there are: {', '.join(known)}")
    chosen = query_pb2.MessageFilter(start_date=str(start), end_date=str(end))
    for name, given in filters.items():
        if given is None:
            continue
        wanted = getattr(chosen, name)
        # Present and empty means: no row.
        wanted.SetInParent()
        try:
            wanted.values.extend([given] if isinstance(given, str | int) else given)
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(f"{name}: {error}") from None
    return chosen


def search_request(
    chosen: query_pb2.MessageFilter, columns: Sequence[str], limit: int | None, offset: int, unmask: bool
) -> query_pb2.SearchRequest:
    """A page; InvalidRequestError for a limit below 1 or an offset below 0 (LAKE section 9)."""
    _check_page(limit, offset)
    return query_pb2.SearchRequest(
        filter=chosen, columns=columns, limit=limit or 0, offset=offset, unmask=unmask
    )


def arrow_request(
    chosen: query_pb2.MessageFilter, columns: Sequence[str], limit: int | None, offset: int, unmask: bool
) -> query_pb2.SearchArrowRequest:
    """All rows, or `limit` of them; raises as `search_request`."""
    _check_page(limit, offset)
    return query_pb2.SearchArrowRequest(
        filter=chosen, columns=columns, limit=limit or 0, offset=offset, unmask=unmask
    )


def _check_page(limit: int | None, offset: int) -> None:
    if limit is not None and not 1 <= limit < 2**32:
        raise InvalidRequestError(f"limit must be 1 or more, not {limit}")
    if not 0 <= offset < 2**63:
        raise InvalidRequestError(f"offset must be 0 or more, not {offset}")
