"""What a key may do (ID-60, and the lake's own scopes)."""

from collections.abc import Iterable
from typing import Final

from millrace_runtime.errors import ErrorCode, ServiceError

GENERATE: Final = "id:generate"
PARSE: Final = "id:parse"
CONFIG_READ: Final = "config:read"
CONFIG_WRITE: Final = "config:write"
AUDIT_READ: Final = "audit:read"
LAKE_PUBLISH: Final = "lake:publish"
LAKE_READ: Final = "lake:read"
LAKE_UNMASK: Final = "lake:unmask"
LAKE_SQL: Final = "lake:sql"
LAKE_REPLAY: Final = "lake:replay"

WORKSPACE_KEY = (GENERATE, PARSE, CONFIG_READ, CONFIG_WRITE, AUDIT_READ)
"""Of the key that is made together with a workspace over HTTP."""

ALL = (*WORKSPACE_KEY, LAKE_PUBLISH, LAKE_READ, LAKE_UNMASK, LAKE_SQL, LAKE_REPLAY)
"""Every scope there is, in the order in which keys show them."""

USER_DEFAULT = (GENERATE, PARSE, CONFIG_READ)
"""Of a new user key that names none."""

ADMIN_DEFAULT = (PARSE, CONFIG_READ, CONFIG_WRITE, AUDIT_READ)
"""Of an admin key: it manages everything and may parse, but may not generate (ID-49, ID-60)."""

DEMO_USER = tuple(scope for scope in ALL if scope != LAKE_UNMASK)
"""Of the first user key of an installation."""


def checked_scopes(asked: Iterable[str], *, admin: bool) -> tuple[str, ...]:
    """The scopes of a new key: `asked` without repeats in the order of `ALL`, or the defaults if none.

    Raises:
        ServiceError: INVALID_REQUEST naming the scope that is unknown, or that an admin key may not have.
    """
    wanted = list(asked)
    for scope in wanted:
        if scope not in ALL:
            raise _refused(f"scopes: {scope!a:.80} is unknown")
        if admin and scope == GENERATE:
            raise _refused(f"scopes: an admin key may not have {GENERATE!r}")
    if not wanted:
        return ADMIN_DEFAULT if admin else USER_DEFAULT
    return tuple(scope for scope in ALL if scope in wanted)


def _refused(message: str) -> ServiceError:
    return ServiceError(ErrorCode.INVALID_REQUEST, message, details={"field": "scopes"})
