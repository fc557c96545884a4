"""What a caller asks for of the dead letters, checked: every refusal names the parameter (LAKE-91). Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from query_service.search.request import (
    MAX_VALUES,
    checked_limit,
    checked_offset,
    flag,
    optional_day,
    refusal,
    sorted_out,
    whole_number,
)

FILTERS: Mapping[str, str] = {
    "error_type": "error_type",
    "reason": "reason",
    "door": "src_door",
    "file": "src_file",
}
"""Exact match of text, any of several: the name of a filter, and its column."""

SINGLE = ("start", "end", "landed", "limit", "offset", "unmask")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a letter comes from: as text, its id `door/file/line/element`. Only a door may have slashes."""

    door: str
    file: str
    line: int
    element: int


@dataclass(frozen=True, slots=True)
class LetterSearch:
    """Conditions that all hold; None does not filter.

    `start` and `end`: UTC days on which letters were landed, both included. `any_of`: as in `Filter`, by the names
    in `FILTERS`. `landed`: whether what the letter stands for has a row by now.
    """

    start: date | None = None
    end: date | None = None
    any_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    landed: bool | None = None
    origin: Origin | None = None
    limit: int | None = None
    offset: int = 0
    unmask: bool = False

    @property
    def matches_nothing(self) -> bool:
        """Whether a condition has no value left that could match."""
        return any(not values for values in self.any_of.values())


def parse_letters(pairs: Iterable[tuple[str, str]]) -> LetterSearch:
    """The search that these query parameters describe; see `parse_search`."""
    single, repeated = sorted_out(pairs, single=SINGLE, many=tuple(FILTERS))
    return checked_letters(
        single.get("start"),
        single.get("end"),
        repeated,
        landed=flag("landed", single["landed"]) if "landed" in single else None,
        limit=whole_number("limit", single["limit"]) if "limit" in single else None,
        offset=whole_number("offset", single["offset"]) if "offset" in single else 0,
        unmask=flag("unmask", single.get("unmask")),
    )


def parse_letter(text: str, pairs: Iterable[tuple[str, str]]) -> LetterSearch:
    """The letters of this id, with the query parameter `unmask`."""
    single, _ = sorted_out(pairs, single=("unmask",), many=())
    return one_letter(text, unmask=flag("unmask", single.get("unmask")))


def one_letter(text: str, *, unmask: bool) -> LetterSearch:
    """The letters of this id. Raises `ServiceError` INVALID_REQUEST for a text that is none."""
    parts = text.rsplit("/", 3)
    if len(parts) != 4 or not all(parts):
        raise refusal("id", "must be door/file/line/element")
    door, file = parts[:2]
    line, element = whole_number("id", parts[2]), whole_number("id", parts[3])
    if not (0 < line < 2**63 and 0 <= element < 2**31):
        raise refusal("id", "there is no such line or element")
    return LetterSearch(origin=Origin(door, file, line, element), unmask=unmask)


def checked_letters(
    start: str | None,
    end: str | None,
    any_of: Mapping[str, Sequence[str]],
    *,
    landed: bool | None,
    limit: int | None,
    offset: int,
    unmask: bool,
    names: tuple[str, str] = ("start", "end"),
) -> LetterSearch:
    """The search of these day texts and values; `names` is what the caller knows the days by."""
    first, last = optional_day(names[0], start), optional_day(names[1], end)
    if first is not None and last is not None and first > last:
        raise refusal(names[0], f"{first} is after {names[1]} {last}")
    for name, values in any_of.items():
        if len(values) > MAX_VALUES:
            raise refusal(name, f"has {len(values)} values, at most {MAX_VALUES} are possible")
    return LetterSearch(
        first,
        last,
        {name: tuple(dict.fromkeys(values)) for name, values in any_of.items()},
        landed,
        None,
        checked_limit(limit, paged=True),
        checked_offset(offset),
        unmask,
    )
