"""What a statement may be: one SELECT about our views, or EXPLAIN of one. Pure.

DuckDB parses the text into a tree; everything in the tree has to be known here, so that what a later DuckDB can do
besides is refused until somebody has looked at it. Files, settings and other databases are only reachable by names of
tables and functions, and both are checked wherever they stand.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

VIEWS = ("messages", "contacts", "other", "dead_letters")
"""What may stand after FROM, besides the statement's own WITH."""

TABLE_FUNCTIONS = frozenset(("range", "generate_series", "unnest"))

DENIED_FUNCTIONS = frozenset(
    (
        # settings, session, catalogue
        *("current_setting", "getvariable", "current_query", "current_database", "current_catalog"),
        *("current_schemas", "current_role", "in_search_path", "get_block_size", "col_description"),
        *(
            "obj_description",
            "shobj_description",
            "map_to_pg_oid",
            "generate_subscripts",
            "stats",
            "vector_type",
        ),
        *("current_connection_id", "current_query_id", "current_transaction_id", "txid_current"),
        # state and time of the engine
        *("write_log", "parse_duckdb_log_message", "sleep_ms", "nextval", "currval", "setval", "setseed"),
        # SQL in text or tree
        *("json_serialize_sql", "json_serialize_plan", "json_deserialize_sql", "json_execute_serialized_sql"),
        *("query", "query_table", "cast_to_type", "make_type", "replace_type"),
    )
)
"""Functions of DuckDB that are none of a question's business."""

_DENIED_PREFIXES = ("__internal", "pg_", "has_", "inet_", "duckdb_", "pragma_", "read_", "combine_aggr")

_QUERY_NODES = frozenset(("SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"))
_MODIFIERS = frozenset(
    (
        *("ORDER_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "DISTINCT_MODIFIER"),
        *("ORDER_DEFAULT", "ASCENDING", "DESCENDING"),
    )
)
_EXPRESSIONS = frozenset(
    (
        *(
            "BETWEEN",
            "CASE",
            "CAST",
            "COLLATE",
            "COLUMN_REF",
            "COMPARISON",
            "CONJUNCTION",
            "CONSTANT",
            "FUNCTION",
        ),
        *("LAMBDA", "LAMBDA_REF", "OPERATOR", "POSITIONAL_REFERENCE", "STAR", "SUBQUERY", "TYPE", "WINDOW"),
    )
)
_TABLES = frozenset(
    ("BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY", "PIVOT", "SHOW_REF")
)
_LEADING = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
_EXPLAIN = re.compile(r"explain\b", re.IGNORECASE)
_ANALYZE = re.compile(r"analy[sz]e\b", re.IGNORECASE)
_PLAIN = re.compile(r"[^\W\d]\w*")
_NOWHERE = 1 << 63

Tree = Mapping[str, Any]


class NotAllowedError(Exception):
    """A statement that is refused; the text says what, and where in the statement."""


@dataclass(frozen=True, slots=True)
class Text:
    """A statement, and where in it the SELECT begins that `explain` stands before."""

    whole: str
    explain: str = ""
    begins: int = 0

    @property
    def select(self) -> str:
        """The statement without its EXPLAIN."""
        return self.whole[self.begins :]

    @property
    def runs(self) -> str:
        """What is run: nothing but this EXPLAIN, and the SELECT that has been checked."""
        return self.explain + self.select

    def position(self, place: int) -> str:
        """Line and column, both from 1, of a byte of the SELECT's UTF-8."""
        before = self.whole[: self.begins] + self.select.encode()[:place].decode(errors="ignore")
        line = before.count("\n") + 1
        return f"line {line}, column {len(before) - before.rfind(chr(10))}"


def unexplained(text: str) -> Text:
    """The statement within an EXPLAIN, with or without ANALYZE; any other as it is."""
    at = _after(_LEADING, text, 0)
    explained = _EXPLAIN.match(text, at)
    if explained is None:
        return Text(text)
    at = _after(_LEADING, text, explained.end())
    if analyzed := _ANALYZE.match(text, at):
        return Text(text, "EXPLAIN ANALYZE ", analyzed.end())
    if text[at : at + 1] == "(" and not _opens_query(text, at):
        raise NotAllowedError("EXPLAIN with options is not allowed: EXPLAIN or EXPLAIN ANALYZE")
    return Text(text, "EXPLAIN ", at)


def views_read(tree: Tree, functions: Collection[str], text: Text) -> tuple[str, ...]:
    """The views that a statement may read, of which DuckDB's json_serialize_sql made this tree.

    `functions` are the names that DuckDB has of its own, in lower case. Raises `NotAllowedError`.
    """
    statements = tree["statements"]
    if len(statements) != 1:
        raise NotAllowedError(f"one statement at a time: these are {len(statements)}")
    own = _own_names(statements[0])
    read: set[str] = set()
    for part in _parts(statements[0]):
        found = _view_of(part, functions, own, text)
        if found == "*":
            read.update(VIEWS)
        elif found:
            read.add(found)
    return tuple(name for name in VIEWS if name in read)


def _view_of(part: Tree, functions: Collection[str], own: frozenset[str], text: Text) -> str:
    """The view that this part of the tree reads, `*` for all of them, empty for none."""
    kind = part.get("type")
    if "class" in part:
        _check_expression(part, functions, text)
    elif "sample" in part and "alias" in part:
        return _table(part, own, text)
    elif isinstance(kind, str) and kind not in _QUERY_NODES and kind not in _MODIFIERS:
        raise _refused(f"{_words(kind)} is not allowed", part, text)
    return ""


def _check_expression(part: Tree, functions: Collection[str], text: Text) -> None:
    kind = str(part["class"])
    if kind == "PARAMETER":
        raise _refused("a parameter has no value here", part, text)
    if kind not in _EXPRESSIONS:
        raise _refused(f"{_words(kind)} is not allowed", part, text)
    if part.get("schema") or part.get("catalog"):
        raise _refused("names of functions and types have no schema here", part, text)
    if "function_name" in part:
        name = str(part["function_name"])
        if name.lower() in DENIED_FUNCTIONS or name.lower().startswith(_DENIED_PREFIXES):
            raise _refused(f"function {_shown(name)} is not allowed", part, text)
        if name.lower() not in functions and name.lower() not in TABLE_FUNCTIONS:
            raise _refused(f"there is no function {_shown(name)}", part, text)


def _table(part: Tree, own: frozenset[str], text: Text) -> str:
    kind = str(part["type"])
    if kind not in _TABLES:
        raise _refused(f"{_words(kind)} is not allowed", part, text)
    if kind == "TABLE_FUNCTION":
        name = str(part["function"].get("function_name", ""))
        if name.lower() not in TABLE_FUNCTIONS:
            raise _refused(f"table function {_shown(name)} is not allowed", part, text)
    if kind == "SHOW_REF" and part.get("query") is None:
        name = str(part["table_name"]).strip('"').lower()
        if part.get("catalog_name") or part.get("schema_name") or name not in (*VIEWS, "tables"):
            raise _refused("only SHOW TABLES is allowed, and DESCRIBE of a view or a query", part, text)
        return "*" if name == "tables" else name
    if kind != "BASE_TABLE":
        return ""
    name = str(part["table_name"])
    if part.get("catalog_name") or part.get("schema_name") or len(part["qualified_name"]["path"]) != 1:
        raise _refused(f"table {_shown(name)}: names of tables have no schema here", part, text)
    if part.get("at_clause") is not None:
        raise _refused(f"table {_shown(name)}: AT is not allowed", part, text)
    if name.lower() in VIEWS:
        return name.lower()
    if name.lower() in own:
        return ""
    raise _refused(f"table {_shown(name)} is not allowed: there are {', '.join(VIEWS)}", part, text)


def _own_names(statement: Tree) -> frozenset[str]:
    """Names that WITH gives. Only plain ones: where one is out of scope, DuckDB would look for a file of that name."""
    names = set()
    for part in _parts(statement):
        ctes = part.get("cte_map")
        for entry in ctes["map"] if isinstance(ctes, Mapping) else ():
            name = str(entry["key"])
            if not _PLAIN.fullmatch(name):
                raise NotAllowedError(f"WITH {_shown(name)}: a name has letters, digits and _ only")
            names.add(name.lower())
    return frozenset(names)


def _parts(tree: Tree) -> Iterator[Tree]:
    """Every object in the tree."""
    waiting: list[Any] = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _refused(what: str, part: Tree, text: Text) -> NotAllowedError:
    place = part.get("query_location")
    if not isinstance(place, int) and isinstance(part.get("function"), Mapping):
        place = part["function"].get("query_location")
    if not isinstance(place, int) or place >= _NOWHERE:
        return NotAllowedError(what)
    return NotAllowedError(f"{what} ({text.position(place)})")


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return at if found is None else found.end()


def _opens_query(text: str, at: int) -> bool:
    """Whether this bracket begins a query, and not the options of EXPLAIN."""
    inside = _after(_LEADING, text, at + 1)
    word = _PLAIN.match(text, inside)
    return text[inside : inside + 1] == "(" or (
        word is not None and word[0].lower() in ("select", "with", "values", "from", "table")
    )


def _words(kind: str) -> str:
    return kind.removesuffix("_NODE").replace("_", " ").lower()


def _shown(name: str) -> str:
    return repr(name[:64])
