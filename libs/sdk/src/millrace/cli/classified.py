"""Rows of `millrace query --classify`: a message, and what its content is (LAKE-45)."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from millrace.classification import MESSAGE_TYPES, Category, Classification, classify
from millrace.messages import Message

READ: Final = ("msg_type", "content")
"""Columns of a message that classification needs."""

COLUMNS: Final = (
    "type_name",
    "category",
    "appmsg_type",
    "should_filter",
    "filter_reason",
    "text",
    "des",
    "url",
    "refermsg",
)
"""What is added to a message's own columns."""

TABLE: Final = ("create_time", "sender", "type_name", "category", "filter_reason", "text")
"""Columns for people, when none are asked for."""


class Classified:
    """A message with the columns above; `text` is also that of a content that is no XML."""

    def __init__(self, message: Message) -> None:
        self._message = message
        self._found: Classification = classify(message.content or "")

    def __getattr__(self, name: str) -> Any:
        if name == "type_name":
            return MESSAGE_TYPES.get(self._message.msg_type or 0, "")
        if name == "text" and self._found.category is Category.UNKNOWN:
            return self._message.content
        return getattr(self._found if name in COLUMNS else self._message, name)


def classified(rows: Iterator[Message]) -> Iterator[Classified]:
    """Each row with its classification."""
    return map(Classified, rows)


def read_columns(chosen: Sequence[str]) -> tuple[str, ...]:
    """The message columns to ask for so that these can be shown; none: all."""
    own = [name for name in chosen if name not in COLUMNS]
    return tuple(dict.fromkeys([*own, *READ])) if chosen else ()
