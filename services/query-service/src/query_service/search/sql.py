"""The SQL that DuckDB is asked, built from checked requests.

Pure. Column names are known or quoted, every value is a bound parameter. `inside` says that all rows of
the files are known to be of the asked days: comparing each create_time again would double the time of a count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from query_service.search.columns import SCHEMA
from query_service.search.files import bounds_us
from query_service.search.layout import Layout, Types, quoted, selected
from query_service.search.request import MAX_PAGE_ROWS, Filter, Lookup

_SENDER = "CASE WHEN chatroom_sender <> '' THEN chatroom_sender ELSE from_username END"
# The partition keys are directory names, not file columns; the sheet's API gives them as numbers.
_FILES = (
    "read_parquet({files}, hive_partitioning = true, "
    "hive_types = {{'year': 'INTEGER', 'month': 'INTEGER', 'day': 'INTEGER'}})"
)
_ORDER = "ORDER BY create_time, msg_id"

LOOKUP_ORDER = ("create_time", "msg_id", "ingestion_time", "src_line")
KEY_PREFIX = "key_"


@dataclass(frozen=True, slots=True)
class Source:
    """What stands after FROM, with its parameters, and conditions on its rows; `schema` are its columns."""

    text: str
    parameters: Mapping[str, object]
    schema: pa.Schema = SCHEMA
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """SQL text and its bound parameters. `small` promises an answer of a page at most, which need not be streamed."""

    text: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    small: bool = True


def uniform(paths: Sequence[str], schema: pa.Schema = SCHEMA) -> Source:
    """Files that all have the columns of `schema`."""
    return Source(_FILES.format(files="$files"), {"files": list(paths)}, schema)


def mixed(paths: Sequence[str], kinds: Sequence[Types], whole: Layout) -> Source:
    """Files of which each has the columns `kinds` says, as one table of the columns of `whole`."""
    groups: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for position, types in enumerate(kinds):
        groups.setdefault(tuple((name, str(kind)) for name, kind in sorted(types.items())), []).append(
            position
        )
    parts: list[str] = []
    parameters: dict[str, object] = {}
    for number, positions in enumerate(groups.values()):
        parameters[f"files{number}"] = [paths[i] for i in positions]
        parameters[f"at{number}"] = positions
        parts.append(
            f"SELECT list_extract($at{number}, CAST(file_index AS BIGINT) + 1) AS file_index, "  # noqa: S608
            f"{selected(kinds[positions[0]], whole)}, year, month, day "
            f"FROM {_FILES.format(files=f'$files{number}')}"
        )
    return Source(f"({' UNION ALL BY NAME '.join(parts)})", parameters, whole.schema)


def not_archived(
    source: Source, doubtful: Sequence[int], deciding: Source, *, key: Sequence[str] = ("msg_id",)
) -> Source:
    """The rows of `source` without those of the files at the `doubtful` positions whose `key` `deciding` has, too."""
    there = renamed(deciding, "there_")
    row = key[0] if len(key) == 1 else f"({', '.join(key)})"
    archived = f"{row} IN (SELECT {row} FROM {there.text})"  # noqa: S608
    condition = f"NOT (list_contains($doubtful, CAST(file_index AS BIGINT)) AND {archived})"
    parameters = {**source.parameters, **there.parameters, "doubtful": list(doubtful)}
    return Source(source.text, parameters, source.schema, (*source.conditions, condition))


def renamed(source: Source, prefix: str) -> Source:
    """The same source without conditions, its parameters named so that it can stand beside another one."""
    text = source.text
    for name in sorted(source.parameters, key=len, reverse=True):
        text = text.replace(f"${name}", f"${prefix}{name}")
    parameters = {f"{prefix}{name}": value for name, value in source.parameters.items()}
    return Source(text, parameters, source.schema)


def count(source: Source, condition: Filter, *, inside: bool) -> Query:
    """How many rows match, as one number."""
    where, parameters = _where(source, condition, inside)
    return Query(f"SELECT count(*) FROM {source.text} {where}", parameters)  # noqa: S608


def count_per_file(source: Source, condition: Filter, *, inside: bool) -> Query:
    """`file_index`, `matching`: how many rows of each file match; files without any are absent."""
    where, parameters = _where(source, condition, inside)
    return Query(
        f"SELECT file_index, count(*) AS matching FROM {source.text} {where} GROUP BY file_index",  # noqa: S608
        parameters,
    )


def rows(
    source: Source, condition: Filter, columns: Sequence[str], *, offset: int, limit: int, inside: bool
) -> Query:
    """The matching rows from `offset` on, ordered by create_time, then msg_id as text.

    For a limit within DuckDB's `late_materialization_max_rows` it sorts the keys alone and then
    reads the columns of the page's rows only.
    """
    where, parameters = _where(source, condition, inside)
    return Query(
        f"SELECT {names(source.schema, columns)} FROM {source.text} {where} {_ORDER} "  # noqa: S608
        "LIMIT $limit OFFSET $offset",
        {**parameters, "limit": limit, "offset": offset},
        small=limit <= MAX_PAGE_ROWS,
    )


def by_ids(source: Source, lookup: Lookup, columns: Sequence[str]) -> Query:
    """The rows of these ids, in no order: `LOOKUP_ORDER`, then the columns asked for.

    Few rows are sorted faster after the fetch: a window and a sort would read wide columns in between.
    """
    ids = [f"id{i}" for i in range(len(lookup.msg_ids))]
    keys = ", ".join(f'"{name}" AS "{KEY_PREFIX}{name}"' for name in LOOKUP_ORDER)
    text = (
        f"SELECT {keys}, {names(source.schema, columns)} "  # noqa: S608
        f"FROM {source.text} WHERE msg_id IN ({bound(ids)})"
    )
    return Query(text, {**source.parameters, **dict(zip(ids, lookup.msg_ids, strict=True))})


def everything(paths: Sequence[str]) -> Query:
    """All columns of all rows, to find out whether a file can be read."""
    source = uniform(paths)
    return Query(f"SELECT * FROM {source.text}", source.parameters, small=False)  # noqa: S608


def names(schema: pa.Schema, columns: Sequence[str]) -> str:
    """These columns as a select list."""
    unknown = set(columns).difference(schema.names)
    if unknown:
        raise ValueError(f"not columns of the dataset: {sorted(unknown)}")
    return ", ".join(quoted(name) for name in columns)


def bound(parameters: Sequence[str]) -> str:
    """The parameters as a list of values."""
    return ", ".join(f"${name}" for name in parameters)


def _where(source: Source, condition: Filter, inside: bool) -> tuple[str, dict[str, object]]:
    clauses = list(source.conditions)
    parameters = dict(source.parameters)
    if not inside:
        from_us, until_us = bounds_us(condition.start, condition.end)
        clauses += ["create_time >= make_timestamptz($from_us)", "create_time < make_timestamptz($until_us)"]
        parameters |= {"from_us": from_us, "until_us": until_us}
    for name, values in condition.any_of.items():
        given = [f"{name}{i}" for i in range(len(values))]
        subject = _SENDER if name == "sender" else quoted(name)
        if name != "sender" and source.schema.field(name).type != SCHEMA.field(name).type:
            # Files of other versions: as text, which is how such a column is answered.
            subject, values = f"CAST({subject} AS VARCHAR)", tuple(str(value) for value in values)
        parameters.update(zip(given, values, strict=True))
        clauses.append(f"{subject} IN ({bound(given)})")
    return ("WHERE " + " AND ".join(clauses) if clauses else ""), parameters
