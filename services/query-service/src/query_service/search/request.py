"""What a caller asks for, checked: every refusal names the parameter (LAKE-9).

Pure: from parameter texts or message fields to a value that the rest of the service trusts.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from millrace_runtime.errors import ErrorCode, ServiceError
from query_service.search.columns import ALL, FILTERS, NUMBER_FILTERS

DEFAULT_PAGE_ROWS = 100
"""Rows of a JSON or gRPC page when the caller names no limit."""

MAX_PAGE_ROWS = 10_000
"""Largest page that is built in memory: JSON and gRPC `Search`."""

MAX_VALUES = 10_000
"""Most values of one filter, and most msg_ids of one lookup."""

MAX_OFFSET = 2**63 - 1

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,19}")
_INT32 = range(-(2**31), 2**31)
_FLAGS = {"true": True, "1": True, "false": False, "0": False}

Values = tuple[str, ...] | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """Whole UTC days, both ends included, and conditions that all hold (LAKE-100).

    `any_of` maps a filter's name to the values of which one must match; no values: no row.
    """

    start: date
    end: date
    any_of: Mapping[str, Values] = field(default_factory=dict)

    @property
    def matches_nothing(self) -> bool:
        """Whether a condition has no value left that could match."""
        return any(not values for values in self.any_of.values())


@dataclass(frozen=True, slots=True)
class Search:
    """A filter, the columns in their order, and which of the ordered rows. `limit` None: all."""

    filter: Filter
    columns: tuple[str, ...] = ALL
    limit: int | None = None
    offset: int = 0
    unmask: bool = False


@dataclass(frozen=True, slots=True)
class Lookup:
    """Messages by id (LAKE-102): sorted ids without repeats."""

    msg_ids: tuple[str, ...]
    columns: tuple[str, ...] = ALL
    unmask: bool = False


def refusal(parameter: str, problem: str) -> ServiceError:
    """The error for a bad parameter: its name leads the message and stands in the details."""
    name = parameter[:64]
    return ServiceError(ErrorCode.INVALID_REQUEST, f"{name}: {problem}", details={"parameter": name})


def parse_search(pairs: Iterable[tuple[str, str]], *, paged: bool) -> Search:
    """The search that the query parameters `pairs` describe, in the order they came.

    `paged` answers are built in memory: they get the default limit and must keep to the largest.
    Raises `ServiceError` INVALID_REQUEST for an unknown, repeated, missing or malformed parameter.
    """
    single, repeated = sorted_out(pairs, single=("start", "end", "columns", "limit", "offset", "unmask"))
    limit = whole_number("limit", single["limit"]) if "limit" in single else None
    offset = whole_number("offset", single["offset"]) if "offset" in single else 0
    return Search(
        filter=checked_filter(single.get("start"), single.get("end"), repeated),
        columns=column_list(single.get("columns")),
        limit=checked_limit(limit, paged=paged),
        offset=checked_offset(offset),
        unmask=flag("unmask", single.get("unmask")),
    )


def parse_lookup(msg_id: str, pairs: Iterable[tuple[str, str]]) -> Lookup:
    """The lookup of one id with its query parameters `columns` and `unmask`."""
    single, repeated = sorted_out(pairs, single=("columns", "unmask"))
    for name in repeated:
        raise refusal(name, "is not a parameter of a lookup by id")
    return checked_lookup(
        [msg_id], column_list(single.get("columns")), unmask=flag("unmask", single.get("unmask"))
    )


def checked_filter(
    start: str | None,
    end: str | None,
    any_of: Mapping[str, Sequence[str | int]],
    names: tuple[str, str] = ("start", "end"),
) -> Filter:
    """The filter of these day texts and values; the values of number filters may be texts.

    `names` is what the caller knows the two days by.
    """
    first, last = _day(names[0], start), _day(names[1], end)
    if first > last:
        raise refusal(names[0], f"{first} is after {names[1]} {last}")
    checked: dict[str, Values] = {}
    for name, values in any_of.items():
        if len(values) > MAX_VALUES:
            raise refusal(name, f"has {len(values)} values, at most {MAX_VALUES} are possible")
        if name in NUMBER_FILTERS:
            checked[name] = tuple(dict.fromkeys(_int32(name, value) for value in values))
        else:
            checked[name] = tuple(dict.fromkeys(str(value) for value in values))
    return Filter(first, last, checked)


def checked_columns(names: Sequence[str]) -> tuple[str, ...]:
    """These columns in their order; none: all. Repeated names are refused, and unknown ones when the files that
    answer are known: they may be of a later version."""
    for position, name in enumerate(names):
        if name in names[:position]:
            raise refusal("columns", f"names {name[:64]} twice")
    return tuple(names) or ALL


def checked_limit(limit: int | None, *, paged: bool) -> int | None:
    """The limit in force; see `parse_search`."""
    if limit is None:
        return DEFAULT_PAGE_ROWS if paged else None
    if limit < 1:
        raise refusal("limit", "must be 1 or more")
    if paged and limit > MAX_PAGE_ROWS:
        raise refusal("limit", f"must be {MAX_PAGE_ROWS} or less; ask for CSV or Arrow to get more")
    return limit


def checked_offset(offset: int) -> int:
    """The offset, which is at least 0 and fits 64 bits."""
    if not 0 <= offset <= MAX_OFFSET:
        raise refusal("offset", "must be 0 or more" if offset < 0 else "is too large")
    return offset


def checked_lookup(msg_ids: Sequence[str], columns: tuple[str, ...], *, unmask: bool) -> Lookup:
    """The lookup of these ids, repeats removed."""
    if len(msg_ids) > MAX_VALUES:
        raise refusal("msg_ids", f"has {len(msg_ids)} values, at most {MAX_VALUES} are possible")
    return Lookup(tuple(sorted(set(msg_ids))), columns, unmask)


def sorted_out(
    pairs: Iterable[tuple[str, str]], single: Sequence[str], many: Sequence[str] = FILTERS
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Parameters that come once, and filters, which may be repeated; any other is refused."""
    once: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    for name, value in pairs:
        if name in many:
            repeated.setdefault(name, []).append(value)
        elif name not in single:
            raise refusal(name, "unknown parameter")
        elif name in once:
            raise refusal(name, "is given twice")
        else:
            once[name] = value
    return once, repeated


def optional_day(parameter: str, text: str | None) -> date | None:
    """The day that the text is; None for none."""
    return _day(parameter, text) if text else None


def _day(parameter: str, text: str | None) -> date:
    if not text:
        raise refusal(parameter, "is required, as YYYY-MM-DD")
    if not _DATE.fullmatch(text):
        raise refusal(parameter, "must be a day written YYYY-MM-DD")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise refusal(parameter, f"there is no day {text}") from None


def _int32(parameter: str, value: str | int) -> int:
    number = whole_number(parameter, value) if isinstance(value, str) else value
    if number not in _INT32:
        raise refusal(parameter, "must fit 32 bits")
    return number


def whole_number(parameter: str, text: str) -> int:
    """The integer that the text is."""
    if not _WHOLE_NUMBER.fullmatch(text):
        raise refusal(parameter, "must be a whole number")
    return int(text)


def flag(parameter: str, text: str | None) -> bool:
    """true or false, also as 1 or 0; absent: false."""
    if text is None:
        return False
    if text not in _FLAGS:
        raise refusal(parameter, "must be true or false")
    return _FLAGS[text]


def column_list(text: str | None) -> tuple[str, ...]:
    """The columns of a list with commas; absent: all."""
    if text is None:
        return ALL
    names = [name.strip() for name in text.split(",")]
    if names == [""]:
        raise refusal("columns", "names no column")
    return checked_columns(names)
