"""Reading files of different schema versions as one table (LAKE-82, LAKE-83). Pure.

Files of one version need none of this. Where columns differ, a file without a column answers NULL, or the value
that `extra_fields` has under that name; a column whose types differ between files is text; one that a later
version has brought is there by its name.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from query_service.search.columns import PARTITION_KEYS, UTC_MICROSECONDS

Types = Mapping[str, pa.DataType]

_EXTRA = "extra_fields"
_ORDER = ("create_time", "msg_id", "username", "ingestion_time")
_HIDDEN_PARTS = ("mobile", "customInfo")
_SQL_TYPES: dict[pa.DataType, str] = {
    pa.string(): "VARCHAR",
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT",
    pa.uint16(): "USMALLINT",
    pa.uint32(): "UINTEGER",
    pa.uint64(): "UBIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.date32(): "DATE",
    pa.binary(): "BLOB",
    UTC_MICROSECONDS: "TIMESTAMPTZ",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """`schema`: every column of the answer that may be asked for. `later`: those of them that are no columns of the
    first version. `uniform`: whether all files have exactly the columns of the first version."""

    schema: pa.Schema
    later: frozenset[str]
    uniform: bool


def plain(kind: pa.DataType) -> pa.DataType:
    """The type that matters to a reader: dictionaries, large and view types are how a file is written, times are
    microseconds in UTC."""
    if pa.types.is_dictionary(kind):
        return plain(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_timestamp(kind):
        return UTC_MICROSECONDS
    return kind


def types_of(schema: pa.Schema) -> dict[str, pa.DataType]:
    """The columns of a file, without those that are names of its directories."""
    return {field.name: plain(field.type) for field in schema if field.name not in PARTITION_KEYS}


def same_columns(types: Types, base: pa.Schema) -> bool:
    """Whether these are exactly the columns of the first version."""
    return dict(types) == types_of(base)


def layout(base: pa.Schema, kinds: Iterable[Types]) -> Layout:
    """The layout of files with these columns, over `base`, the first version."""
    every = list(kinds)
    stored = types_of(base)
    if all(dict(types) == stored for types in every):
        return Layout(base, frozenset(), uniform=True)
    later = [
        name
        for name in dict.fromkeys(name for types in every for name in types)
        if base.get_field_index(name) < 0
    ]
    fields = [
        (field.name, field.type if field.name in PARTITION_KEYS else _common(field.name, field.type, every))
        for field in base
    ]
    return Layout(
        pa.schema(fields + [(name, _common(name, pa.string(), every)) for name in later]),
        frozenset(later),
        uniform=False,
    )


def _common(name: str, base: pa.DataType, every: Sequence[Types]) -> pa.DataType:
    """The type in which the column is answered."""
    if name in _ORDER:
        return base  # rows are ordered by it
    if name in _HIDDEN_PARTS:
        return pa.string()  # no number can be masked
    found = {types[name] for types in every if name in types}
    if not found:
        return base
    kind = found.pop()
    return pa.string() if found or kind not in _SQL_TYPES else kind


def selected(types: Types, whole: Layout) -> str:
    """The select list that gives a file with these columns the columns of `whole`; directory keys apart."""
    return ", ".join(
        f"{_expression(field.name, field.type, types, later=field.name in whole.later)} AS {quoted(field.name)}"
        for field in whole.schema
        if field.name not in PARTITION_KEYS
    )


def _expression(name: str, wanted: pa.DataType, types: Types, *, later: bool) -> str:
    own = _converted(quoted(name), types[name], wanted) if name in types else ""
    if not later or types.get(_EXTRA) != pa.string():
        return own or f"CAST(NULL AS {_SQL_TYPES[wanted]})"
    pointer = "/" + name.replace("~", "~0").replace("/", "~1")
    text = f"CASE WHEN json_valid({_EXTRA}) THEN {_EXTRA} ->> {_literal(pointer)} END"
    kept = text if wanted == pa.string() else f"TRY_CAST({text} AS {_SQL_TYPES[wanted]})"
    return f"coalesce({own}, {kept})" if own else kept


def _converted(column: str, stored: pa.DataType, wanted: pa.DataType) -> str:
    if stored == wanted and wanted != UTC_MICROSECONDS:
        return column
    if wanted == UTC_MICROSECONDS:
        if pa.types.is_integer(stored):
            return f"to_timestamp({column})"
        return f"TRY_CAST({column} AS TIMESTAMPTZ)"
    if wanted == pa.string() and pa.types.is_nested(stored):
        return f"CAST(to_json({column}) AS VARCHAR)"
    return f"CAST({column} AS {_SQL_TYPES[wanted]})"


def quoted(name: str) -> str:
    """The name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def sql_type(kind: pa.DataType) -> str:
    """The name of the type in SQL; that of text for one that has none."""
    return _SQL_TYPES.get(kind, "VARCHAR")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
