"""The datasets as views of a statement: SQL over the live files, with personal data hidden by column.

A column is hidden by a function in the view, so only where it is asked for, and whatever a statement makes of it, it
makes of what is shown.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from millrace_schemas import datasets
from query_service.search import contacts
from query_service.search.columns import (
    CONTACTS_INTERNAL,
    PARTITION_KEYS,
    SCHEMA,
    STORED_CONTACTS,
)
from query_service.search.files import Files
from query_service.search.layout import quoted, sql_type
from query_service.search.listed import of_files
from query_service.search.read import Reader, View
from query_service.search.sql import Source, not_archived
from query_service.search.tables import ARCHIVE
from query_service.sql import masks
from query_service.sql.moments import ALWAYS, Bounds

_PARAMETER = re.compile(r"\$(\w+)")
_ORIGIN = ("src_door", "src_file", "src_line", "src_element")


def _with_numbers(name: str) -> pa.Schema:
    """The stored columns of a dataset, its directory keys as numbers."""
    stored = datasets.load(name).arrow_schema()
    fields = [(field.name, field.type) for field in stored if field.name not in PARTITION_KEYS]
    return pa.schema(fields + [(key, pa.int32()) for key in PARTITION_KEYS])


@dataclass(frozen=True, slots=True)
class Dataset:
    """How a dataset is read: columns of its first version, those never shown, what tells a row that the archive has
    as well, and the columns that `hidden` functions mask."""

    base: pa.Schema
    key: tuple[str, ...]
    hidden: Mapping[str, str]
    internal: tuple[str, ...] = ()


DATASETS: Mapping[str, Dataset] = {
    "messages": Dataset(SCHEMA, ("msg_id",), {"extra_fields": masks.JSON}),
    "contacts": Dataset(
        STORED_CONTACTS,
        ("username",),
        {"mobile": masks.MOBILE, "customInfo": masks.CUSTOM_INFO, "extra_fields": masks.JSON},
        internal=CONTACTS_INTERNAL,
    ),
    "other": Dataset(_with_numbers("other"), _ORIGIN, {"payload": masks.JSON}),
    "dead_letters": Dataset(
        _with_numbers("dead_letters"),
        _ORIGIN,
        # A body that is no JSON could have anything in it: without its text nothing is lost but the look at it.
        {"body": masks.JSON, "body_base64": masks.ALL},
    ),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A view of a statement: what it is created as, the files behind it, and what is missing from it."""

    select: str
    files: Files
    warnings: tuple[str, ...]


class Views:
    """Makes the views. Thread-safe as its readers are."""

    def __init__(self, readers: Mapping[str, Reader]) -> None:
        self._readers = readers

    def shown(self, name: str, when: Bounds, *, unmask: bool) -> Shown:
        """The view of this dataset over the files that are live now; `when` is of messages alone."""
        reader, dataset = self._readers[name], DATASETS[name]
        times = when if name == "messages" else ALWAYS
        view = reader.view(lambda files: _within(files, times), lambda _, files: of_files(files))
        columns = view.columns(())
        items = ", ".join(_item(view.schema(columns).field(column), dataset, unmask) for column in columns)
        if not len(view.files):
            return Shown(_without_rows(view, items), view.files, view.warnings)
        source = _source(reader, view, name)
        where_text = f" WHERE {' AND '.join(source.conditions)}" if source.conditions else ""
        if name == "contacts" and any(path.startswith(ARCHIVE) for path in view.files.paths):
            latest = f"(SELECT * FROM {source.text} {contacts.LATEST})"  # noqa: S608
        else:
            latest = source.text
        text = f"SELECT {items} FROM {latest}{where_text}"  # noqa: S608
        return Shown(_with_values(text, source.parameters), view.files, view.warnings)

    def learnt(self, shown: Mapping[str, Shown], message: str) -> bool:
        """Whether a failure is due to a file that is gone or broken, and will not be asked again."""
        found = [self._readers[name].learnt(view.files, message) for name, view in shown.items()]
        return any(found)  # each has been looked at, so that the next attempt knows of all that is broken


def _within(files: Files, when: Bounds) -> Files:
    if when == ALWAYS:
        return files
    return files.take(np.flatnonzero((files.lo_us < when[1]) & (files.hi_us >= when[0])))


def _source(reader: Reader, view: View, name: str) -> Source:
    source = reader.plain_source(view, view.files)
    doubtful, deciding = view.files.doubtful(), view.files.deciding()
    if name == "contacts" or not len(doubtful) or not len(deciding):
        return source
    return not_archived(
        source, doubtful.tolist(), reader.plain_source(view, deciding), key=DATASETS[name].key
    )


def _item(field: pa.Field, dataset: Dataset, unmask: bool) -> str:
    name = quoted(field.name)
    hide = dataset.hidden.get(field.name)
    if hide is None and field.type == pa.string() and dataset.base.get_field_index(field.name) < 0:
        hide = masks.JSON  # a column of a later version may hold any key that extra_fields had
    return name if unmask or hide is None else f"{hide}({name}) AS {name}"


def _without_rows(view: View, items: str) -> str:
    nothing = ", ".join(
        f"CAST(NULL AS {sql_type(field.type)}) AS {quoted(field.name)}" for field in view.layout.schema
    )
    return f"SELECT {items} FROM (SELECT {nothing}) WHERE false"  # noqa: S608


def _with_values(text: str, parameters: Mapping[str, object]) -> str:
    """The text with its parameters as literals, as a view has none."""

    def literal(found: re.Match[str]) -> str:
        return _literal(parameters[found[1]]) if found[1] in parameters else found[0]

    return _PARAMETER.sub(literal, text)


def _literal(value: object) -> str:
    if isinstance(value, list):
        items = ", ".join(map(_literal, value))
        return f"[{items}]" if value else "CAST([] AS BIGINT[])"
    if isinstance(value, int):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"
