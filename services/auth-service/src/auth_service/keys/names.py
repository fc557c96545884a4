"""Names of workspaces and keys (ID-7)."""

import re

from millrace_runtime.errors import ErrorCode, ServiceError

GLOBAL = "global"
"""What stands for the workspace in an admin key; therefore no workspace may have this name."""

NAME_LIMIT = 64
DESCRIPTION_LIMIT = 512
NAME_PATTERN = rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{NAME_LIMIT - 1}}}"

_NAME = re.compile(NAME_PATTERN)
_SURROGATE = re.compile("[\ud800-\udfff]")


def checked_workspace_name(name: str) -> str:
    """`name` if a workspace may be called so: 1-64 of [A-Za-z0-9._-], first a letter or digit, not `global`.

    Raises:
        ServiceError: INVALID_REQUEST naming the field.
    """
    if not _NAME.fullmatch(name):
        raise ServiceError(
            ErrorCode.INVALID_REQUEST,
            f"name: 1-{NAME_LIMIT} of A-Z a-z 0-9 . _ -, the first a letter or digit",
            details={"field": "name"},
        )
    if name == GLOBAL:
        raise ServiceError(
            ErrorCode.INVALID_REQUEST, f"name: {GLOBAL!r} is reserved", details={"field": "name"}
        )
    return name


def checked_key_name(name: str) -> str:
    """`name` if a key may be called so: 1-64 printable characters that are not all blank.

    Raises:
        ServiceError: INVALID_REQUEST naming the field.
    """
    if not name.strip() or len(name) > NAME_LIMIT or not name.isprintable():
        raise ServiceError(
            ErrorCode.INVALID_REQUEST,
            f"name: 1-{NAME_LIMIT} printable characters",
            details={"field": "name"},
        )
    return name


def checked_description(description: str | None) -> str | None:
    """`description` if it is at most 512 characters of text; an empty one counts as none.

    Raises:
        ServiceError: INVALID_REQUEST naming the field.
    """
    if description is not None and (len(description) > DESCRIPTION_LIMIT or not is_storable(description)):
        raise ServiceError(
            ErrorCode.INVALID_REQUEST,
            f"description: at most {DESCRIPTION_LIMIT} characters, without NUL and lone surrogates",
            details={"field": "description"},
        )
    return description or None


def is_storable(text: str) -> bool:
    """Whether every database can hold the text: PostgreSQL takes no NUL, and UTF-8 has no lone surrogate."""
    return "\0" not in text and not _SURROGATE.search(text)
