"""The columns and filters of the datasets, as the API shows them (LAKE 4.1, 4.2, LAKE-9)."""

import pyarrow as pa

from millrace_schemas import datasets

UTC_MICROSECONDS = pa.timestamp("us", tz="UTC")

SCHEMA = pa.schema(
    [
        ("msg_id", pa.string()),
        ("from_username", pa.string()),
        ("to_username", pa.string()),
        ("chatroom", pa.string()),
        ("chatroom_sender", pa.string()),
        ("msg_type", pa.int32()),
        ("create_time", UTC_MICROSECONDS),
        ("is_chatroom_msg", pa.int8()),
        ("content", pa.string()),
        ("desc", pa.string()),
        ("source", pa.string()),
        ("guid", pa.string()),
        ("notify_type", pa.int32()),
        ("ingestion_time", UTC_MICROSECONDS),
        ("extra_fields", pa.string()),
        ("schema_version", pa.int32()),
        ("src_door", pa.string()),
        ("src_file", pa.string()),
        ("src_line", pa.int64()),
        ("src_element", pa.int32()),
        ("year", pa.int32()),
        ("month", pa.int32()),
        ("day", pa.int32()),
    ]
)
"""All columns in their order. `year`, `month`, `day` are two-digit directory names in the lake and
numbers here."""

COLUMNS: tuple[str, ...] = tuple(SCHEMA.names)

PARTITION_KEYS = ("year", "month", "day")

ALL: tuple[str, ...] = ()
"""Asking for these columns is asking for all: `COLUMNS`, and those that the files have beyond them (LAKE-82)."""

TEXT_FILTERS = ("chatroom", "from_username", "to_username", "chatroom_sender", "guid", "sender")
"""Exact match of text; `sender` is chatroom_sender when not empty, else from_username."""

NUMBER_FILTERS = ("msg_type", "is_chatroom_msg", "notify_type")
"""Exact match of a 32-bit integer."""

FILTERS = TEXT_FILTERS + NUMBER_FILTERS


CONTACTS_INTERNAL = ("row_order", "delete_order")
"""Stored columns that only keep the order of changes; never asked for."""


def _stored(dataset: str) -> pa.Schema:
    stored = datasets.load(dataset).arrow_schema()
    return pa.schema(
        [(field.name, field.type) for field in stored if field.name not in PARTITION_KEYS]
        + [(name, pa.int32()) for name in PARTITION_KEYS]
    )


STORED_CONTACTS = _stored("contacts")
"""All columns of contacts in their order (LAKE-103)."""

CONTACT_COLUMNS: tuple[str, ...] = tuple(
    name for name in STORED_CONTACTS.names if name not in CONTACTS_INTERNAL
)

STORED_OTHER = _stored("other")
"""All columns of the other notifications in their order (LAKE-22)."""

STORED_LETTERS = _stored("dead_letters")
"""All columns of dead_letters in their order (LAKE-91)."""
