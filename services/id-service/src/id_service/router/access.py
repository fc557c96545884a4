"""Who may draw and read ids (ID-51, ID-60)."""

from typing import Final

from id_service.errors import forbidden
from millrace_runtime.auth import Principal

GENERATE: Final = "id:generate"
PARSE: Final = "id:parse"


def require_generate(caller: Principal, workspace: str) -> None:
    """Let a user key with scope id:generate draw ids of its own workspace; admin keys never may.

    Raises:
        ServiceError: FORBIDDEN, whether or not the workspace exists.
    """
    if is_admin(caller):
        raise forbidden("admin keys manage and may not generate ids")
    caller.require(GENERATE)
    _require_own(caller, workspace)


def require_parse(caller: Principal, workspace: str | None) -> None:
    """Let an admin key, or a user key with scope id:parse, read ids; a user key of its own tags only.

    Raises:
        ServiceError: FORBIDDEN.
    """
    if is_admin(caller):
        return
    caller.require(PARSE)
    if workspace:
        _require_own(caller, workspace)


def is_admin(caller: Principal) -> bool:
    """Whether the key is one that manages the installation."""
    return caller.role == "admin"


def _require_own(caller: Principal, workspace: str) -> None:
    if caller.workspace != workspace:
        raise forbidden("the key belongs to another workspace")
