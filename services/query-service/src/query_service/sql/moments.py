"""Which create_time a statement can ask for, as far as its text says so plainly. Pure.

A view over all files would have DuckDB look into each; the table's log tells which can hold a time. Only what is
certain is used: each FROM messages that stands alone in its SELECT, and conditions on create_time that AND joins. One
that is not plain means all of time.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

Tree = Mapping[str, Any]
Bounds = tuple[int, int]
"""From this microsecond since 1970 up to, not including, that one."""

ALWAYS: Bounds = (-(1 << 63), (1 << 63) - 1)

_COLUMN = "create_time"
_MIRRORED = {
    "COMPARE_GREATERTHAN": "COMPARE_LESSTHAN",
    "COMPARE_LESSTHAN": "COMPARE_GREATERTHAN",
    "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_LESSTHANOREQUALTO": "COMPARE_GREATERTHANOREQUALTO",
    "COMPARE_EQUAL": "COMPARE_EQUAL",
}
_LOWER = ("COMPARE_GREATERTHAN", "COMPARE_GREATERTHANOREQUALTO", "COMPARE_EQUAL")
_UPPER = ("COMPARE_LESSTHANOREQUALTO", "COMPARE_EQUAL")
_DAY_US = 86_400_000_000


def bounds(tree: Tree) -> Bounds:
    """The times of which rows of messages can matter."""
    found = list(_of_every_use(tree))
    if not found:
        return ALWAYS
    return min(low for low, _ in found), max(high for _, high in found)


def _of_every_use(part: Any) -> Iterator[Bounds]:
    if isinstance(part, list):
        for item in part:
            yield from _of_every_use(item)
    if not isinstance(part, Mapping):
        return
    alone = part.get("from_table") if part.get("type") == "SELECT_NODE" else None
    if isinstance(alone, Mapping) and _is_messages(alone):
        yield _of_select(part, alone)
        part = {name: value for name, value in part.items() if name != "from_table"}
    elif _is_messages(part):
        yield ALWAYS  # within a join, a pivot, ...
    for value in part.values():
        yield from _of_every_use(value)


def _is_messages(part: Tree) -> bool:
    return part.get("type") == "BASE_TABLE" and str(part.get("table_name")).lower() == "messages"


def _of_select(select: Tree, table: Tree) -> Bounds:
    renamed = any(str(item.get("alias")).lower() == _COLUMN for item in select["select_list"])
    if renamed or table.get("column_name_alias"):
        return ALWAYS
    names = (str(table.get("alias") or table["table_name"]).lower(),)
    low, high = ALWAYS
    for condition in _conjuncts(select.get("where_clause")):
        least, most = _of_condition(condition, names)
        low, high = max(low, least), min(high, most)
    return low, high


def _conjuncts(where: Any) -> Iterator[Tree]:
    if not isinstance(where, Mapping):
        return
    if where.get("type") == "CONJUNCTION_AND":
        for child in where.get("children", ()):
            yield from _conjuncts(child)
    else:
        yield where


def _of_condition(condition: Tree, names: tuple[str, ...]) -> Bounds:
    kind = str(condition.get("type"))
    if kind == "COMPARE_BETWEEN":
        unit = _unit(condition.get("input"), names)
        low, high = _moment(condition.get("lower")), _moment(condition.get("upper"))
        if unit is None:
            return ALWAYS
        return ALWAYS[0] if low is None else low, ALWAYS[1] if high is None else high + unit
    left, right = condition.get("left"), condition.get("right")
    unit, moment = _unit(left, names), _moment(right)
    if unit is None:
        unit, moment, kind = _unit(right, names), _moment(left), _MIRRORED.get(kind, kind)
    if unit is None or moment is None:
        return ALWAYS
    return (
        moment if kind in _LOWER else ALWAYS[0],
        moment if kind == "COMPARE_LESSTHAN" else moment + unit if kind in _UPPER else ALWAYS[1],
    )


def _unit(part: Any, names: tuple[str, ...]) -> int | None:
    """How long the values are that compare as equal: create_time itself, or its day; None for anything else."""
    if not isinstance(part, Mapping):
        return None
    if part.get("class") == "CAST" and _cast_type(part) == "DATE":
        return None if _unit(part.get("child"), names) is None else _DAY_US
    if part.get("class") != "COLUMN_REF":
        return None
    path = [str(name).lower() for name in part.get("column_names", ())]
    known = path == [_COLUMN] or (len(path) == 2 and path[0] in names and path[1] == _COLUMN)
    return 1 if known else None


def _moment(part: Any) -> int | None:
    """The microsecond that a constant means; None where it is no plain day or time."""
    if not isinstance(part, Mapping):
        return None
    if part.get("class") == "CAST":
        inner = part.get("child")
        if _cast_type(part) not in ("DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE"):
            return None
        text = _text(inner)
        # A cast to DATE drops the time of day, and which day that is depends on the text.
        if text is None or (_cast_type(part) == "DATE" and len(text) != 10):
            return None
    else:
        text = _text(part)
    return None if text is None else _microsecond(text)


def _text(part: Any) -> str | None:
    if not isinstance(part, Mapping) or part.get("class") != "CONSTANT":
        return None
    literal = part.get("literal")
    if isinstance(literal, Mapping) and literal.get("kind") == "STRING":
        return str(literal.get("text"))
    return None


def _cast_type(part: Tree) -> str:
    kind = part.get("type_expr")
    return str(kind.get("type_name")).upper() if isinstance(kind, Mapping) else ""


def _microsecond(text: str) -> int | None:
    try:
        if len(text) == 10:
            day = date.fromisoformat(text)
            moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
        else:
            moment = datetime.fromisoformat(text)
            # DuckDB takes the session's time zone, which is UTC, where none is given.
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    except ValueError:
        return None
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
