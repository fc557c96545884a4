"""A tag as the service uses it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Names of workspaces, groups and tags (ID-7)."""


class Algorithm(StrEnum):
    """The algorithms of ID-1, by the name in tables and answers."""

    SEGMENT = "segment"
    SNOWFLAKE = "snowflake"
    UUID_V7 = "uuid_v7"
    UUID_V4 = "uuid_v4"


class IdFormat(StrEnum):
    """How an id is written (ID-21)."""

    NUMERIC = "numeric"
    PREFIXED = "prefixed"
    UUID = "uuid"
    FORMATTED = "formatted"


@dataclass(frozen=True, slots=True)
class TagName:
    """A tag's full name."""

    workspace: str
    group: str
    biz_tag: str


@dataclass(frozen=True, slots=True)
class Tag:
    """One row of biz_tags with the names above it. `base_step` in ids."""

    id: str
    name: TagName
    algorithm: Algorithm
    format: IdFormat
    prefix: str
    base_step: int
    datacenter_ids: frozenset[int]
