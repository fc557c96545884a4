"""What a caller asks for of the contacts, checked: every refusal names the parameter (LAKE-103). Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from query_service.search.columns import ALL
from query_service.search.request import (
    MAX_VALUES,
    checked_limit,
    checked_offset,
    column_list,
    flag,
    refusal,
    sorted_out,
    whole_number,
)

SINGLE = ("chatroom", "deleted", "changed_since", "columns", "limit", "offset", "unmask")


@dataclass(frozen=True, slots=True)
class ContactSearch:
    """Conditions that all hold; None does not filter. `usernames` without one: no row.

    `chatroom`: whether the username is that of a chatroom (LAKE-40). `changed_since`: rows that were landed at this
    moment or later.
    """

    usernames: tuple[str, ...] | None = None
    chatroom: bool | None = None
    deleted: bool | None = None
    changed_since: datetime | None = None
    columns: tuple[str, ...] = ALL
    limit: int | None = None
    offset: int = 0
    unmask: bool = False


def parse_contacts(pairs: Iterable[tuple[str, str]], *, paged: bool) -> ContactSearch:
    """The search that these query parameters describe; see `parse_search`."""
    single, repeated = sorted_out(pairs, single=SINGLE, many=("username",))
    return ContactSearch(
        usernames=checked_usernames(repeated.get("username")),
        chatroom=flag("chatroom", single["chatroom"]) if "chatroom" in single else None,
        deleted=flag("deleted", single["deleted"]) if "deleted" in single else None,
        changed_since=moment("changed_since", single["changed_since"]) if "changed_since" in single else None,
        columns=column_list(single.get("columns")),
        limit=checked_limit(
            whole_number("limit", single["limit"]) if "limit" in single else None, paged=paged
        ),
        offset=checked_offset(whole_number("offset", single["offset"]) if "offset" in single else 0),
        unmask=flag("unmask", single.get("unmask")),
    )


def checked_usernames(names: Sequence[str] | None) -> tuple[str, ...] | None:
    """These names once each; None where none are asked for by name."""
    if names is None:
        return None
    if len(names) > MAX_VALUES:
        raise refusal("username", f"has {len(names)} values, at most {MAX_VALUES} are possible")
    return tuple(dict.fromkeys(names))


def moment(parameter: str, text: str) -> datetime:
    """A day, or a moment in RFC 3339; without an offset it is UTC."""
    try:
        found = datetime.fromisoformat(text.replace(" ", "+"))  # a bare + in a URL is a space
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise refusal(parameter, "must be a day YYYY-MM-DD or a moment YYYY-MM-DDTHH:MM:SSZ") from None


def checked_moment(parameter: str, unix_s: int) -> datetime:
    """The moment of these Unix seconds."""
    try:
        return datetime.fromtimestamp(unix_s, UTC)
    except (ValueError, OverflowError, OSError):
        raise refusal(parameter, "is not a time in Unix seconds") from None
