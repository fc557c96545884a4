"""The SQL that DuckDB is asked, built from checked requests.

Pure. Column names come only from the known list, every value is a bound parameter. `inside` says that
all rows of the files are known to be of the asked days: comparing each create_time again would double
the time of a count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from query_service.search.columns import COLUMNS
from query_service.search.files import bounds_us
from query_service.search.request import MAX_PAGE_ROWS, Filter, Lookup

_SENDER = "CASE WHEN chatroom_sender <> '' THEN chatroom_sender ELSE from_username END"
# The partition keys are directory names, not file columns; the sheet's API gives them as numbers.
_FILES = (
    "read_parquet($files, hive_partitioning = true, "
    "hive_types = {'year': 'INTEGER', 'month': 'INTEGER', 'day': 'INTEGER'})"
)
_ORDER = "ORDER BY create_time, msg_id"

LOOKUP_ORDER = ("create_time", "msg_id", "ingestion_time", "src_line")
KEY_PREFIX = "key_"


@dataclass(frozen=True, slots=True)
class Query:
    """SQL text and its bound parameters; `$files` is added by whoever runs it. `small` promises an answer of
    a page at most, which need not be streamed."""

    text: str
    parameters: dict[str, object]
    small: bool = True


def count(condition: Filter, *, inside: bool) -> Query:
    """How many rows match, as one number."""
    where, parameters = _where(condition, inside)
    return Query(f"SELECT count(*) FROM {_FILES} {where}", parameters)  # noqa: S608


def count_per_file(condition: Filter, *, inside: bool) -> Query:
    """`file_index`, `matching`: how many rows of each file match; files without any are absent."""
    where, parameters = _where(condition, inside)
    return Query(
        f"SELECT file_index, count(*) AS matching FROM {_FILES} {where} GROUP BY file_index",  # noqa: S608
        parameters,
    )


def rows(condition: Filter, columns: Sequence[str], *, offset: int, limit: int, inside: bool) -> Query:
    """The matching rows from `offset` on, ordered by create_time, then msg_id as text.

    For a limit within DuckDB's `late_materialization_max_rows` it sorts the keys alone and then
    reads the columns of the page's rows only.
    """
    where, parameters = _where(condition, inside)
    parameters |= {"limit": limit, "offset": offset}
    return Query(
        f"SELECT {_names(columns)} FROM {_FILES} {where} {_ORDER} LIMIT $limit OFFSET $offset",  # noqa: S608
        parameters,
        small=limit <= MAX_PAGE_ROWS,
    )


def by_ids(lookup: Lookup) -> Query:
    """The rows of these ids, in no order: `LOOKUP_ORDER`, then the columns asked for.

    Few rows are sorted faster after the fetch: a window and a sort would read wide columns in between.
    """
    names = [f"id{i}" for i in range(len(lookup.msg_ids))]
    keys = ", ".join(f'"{name}" AS "{KEY_PREFIX}{name}"' for name in LOOKUP_ORDER)
    text = f"SELECT {keys}, {_names(lookup.columns)} FROM {_FILES} WHERE msg_id IN ({_bound(names)})"  # noqa: S608
    return Query(text, dict(zip(names, lookup.msg_ids, strict=True)))


def everything() -> Query:
    """All columns of all rows, to find out whether a file can be read."""
    return Query(f"SELECT * FROM {_FILES}", {}, small=False)  # noqa: S608


def _where(condition: Filter, inside: bool) -> tuple[str, dict[str, object]]:
    clauses: list[str] = []
    parameters: dict[str, object] = {}
    if not inside:
        from_us, until_us = bounds_us(condition.start, condition.end)
        clauses += ["create_time >= make_timestamptz($from_us)", "create_time < make_timestamptz($until_us)"]
        parameters |= {"from_us": from_us, "until_us": until_us}
    for name, values in condition.any_of.items():
        names = [f"{name}{i}" for i in range(len(values))]
        parameters.update(zip(names, values, strict=True))
        subject = _SENDER if name == "sender" else _names([name])
        clauses.append(f"{subject} IN ({_bound(names)})")
    return ("WHERE " + " AND ".join(clauses) if clauses else ""), parameters


def _names(columns: Sequence[str]) -> str:
    unknown = set(columns).difference(COLUMNS)
    if unknown:
        raise ValueError(f"not columns of messages: {sorted(unknown)}")
    return ", ".join(f'"{name}"' for name in columns)


def _bound(names: Sequence[str]) -> str:
    return ", ".join(f"${name}" for name in names)
