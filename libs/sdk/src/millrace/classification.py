"""What a message's content is: kind of XML body, and whether it is worth reading (LAKE-45, LAKE 4.4). Pure.

    from millrace.classification import classify

    found = classify(message.content)
    if not found.should_filter:
        print(found.text or message.content)

Classification is a view: it changes and drops no stored row.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from millrace.xmlparts import BrokenXmlError, Parts, parts_of

MESSAGE_TYPES: Final = {
    0: "unspecified",
    1: "text",
    3: "image",
    34: "voice",
    37: "friend request",
    42: "name card",
    43: "video",
    47: "sticker",
    48: "location",
    49: "app message",
    50: "voice/video call",
    51: "phone-side status",
    10000: "system notice",
    10002: "recall",
}
"""Meaning of `msg_type`; codes that are not listed are stored as they are."""

APP_MESSAGE_TYPES: Final = {
    1: "text",
    3: "music",
    4: "video/picture share",
    5: "link, article or red packet",
    6: "file",
    33: "mini program",
    47: "system card",
    49: "quote-style forward",
    51: "channels card",
    57: "quote reply",
    124: '"client too old" notice',
}
"""Meaning of an app message's `<type>`."""

_SHARES: Final = frozenset({4, 5})
_QUOTES: Final = frozenset({49, 57})
_FILTERED_APP_TYPES: Final = frozenset({3, 47, 51, 124})
_LAST_MESSAGE: Final = "lastMessage"


class Category(StrEnum):
    """Kinds of bodies."""

    APPMSG = "appmsg"
    EMOJI = "emoji"
    VOICEMSG = "voicemsg"
    SYSMSG = "sysmsg"
    OP = "op"
    IMG = "img"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Quoted:
    """The message that a quote refers to (`refermsg`); `type` and `createtime` None where they are no numbers."""

    svrid: str
    type: int | None
    displayname: str
    content: str
    createtime: int | None


@dataclass(frozen=True, slots=True)
class Classification:
    """`text` is what an app message says in one line; `des` and `url` are those of a share.

    `filter_reason` is empty for what is kept, `appmsg_type` None for what is no app message or names no type.
    """

    category: Category
    appmsg_type: int | None = None
    should_filter: bool = False
    filter_reason: str = ""
    text: str = ""
    des: str = ""
    url: str = ""
    refermsg: Quoted | None = None


UNKNOWN: Final = Classification(Category.UNKNOWN)

_FILTERED: Final = frozenset({Category.EMOJI, Category.VOICEMSG, Category.SYSMSG})


def classify(content: str) -> Classification:
    """What the content is. Empty, broken or no XML, and XML with a document type or entities of its own, is unknown
    and kept. Never raises."""
    if "<" not in content:
        return UNKNOWN
    try:
        parts = parts_of(content, frozenset(Category) - {Category.UNKNOWN})
    except BrokenXmlError:
        return UNKNOWN
    if parts is None:
        return UNKNOWN
    category = Category(parts.name)
    if category is Category.APPMSG:
        return _app_message(parts)
    if category in _FILTERED:
        return Classification(category, should_filter=True, filter_reason=category.value)
    if category is Category.OP and parts.text("name") == _LAST_MESSAGE:
        return Classification(category, should_filter=True, filter_reason=f"op:{_LAST_MESSAGE}")
    return Classification(category)


def _app_message(parts: Parts) -> Classification:
    number = _number(parts.text("type"))
    title = parts.text("title")
    quoted = _quoted(parts)
    if number == 1 and quoted is not None:
        return _filtered(number, "appmsg:type=1+refermsg", quoted)
    if number in _FILTERED_APP_TYPES:
        return _filtered(number, f"appmsg:type={number}", quoted)
    text = title
    if number in _SHARES:
        text = f"[share] {title}"
        return Classification(
            Category.APPMSG,
            number,
            text=text,
            des=parts.text("des"),
            url=parts.text("url"),
            refermsg=quoted,
        )
    if number in _QUOTES and quoted is not None:
        text = f"[quote @{quoted.displayname}: {quoted.content}] {title}"
    return Classification(Category.APPMSG, number, text=text, refermsg=quoted)


def _filtered(number: int | None, reason: str, quoted: Quoted | None) -> Classification:
    return Classification(Category.APPMSG, number, True, reason, refermsg=quoted)


def _quoted(parts: Parts) -> Quoted | None:
    if not parts.has("refermsg"):
        return None
    text = {name: parts.text(f"refermsg/{name}") for name in Quoted.__dataclass_fields__}
    return Quoted(
        svrid=text["svrid"],
        type=_number(text["type"]),
        displayname=text["displayname"],
        content=text["content"],
        createtime=_number(text["createtime"]),
    )


def _number(text: str) -> int | None:
    """Decimal digits of a code or a time; anything else, or what no 64 bits hold, is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
