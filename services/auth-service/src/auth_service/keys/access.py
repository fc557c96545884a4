"""Who may manage."""

from auth_service.keys.model import Role
from millrace_runtime.auth import Principal
from millrace_runtime.errors import ErrorCode, ServiceError


def require_admin(principal: Principal) -> Principal:
    """`principal` if it holds the global admin key.

    Raises:
        ServiceError: FORBIDDEN.
    """
    if principal.role != Role.ADMIN.value:
        raise ServiceError(ErrorCode.FORBIDDEN, "an admin key is required")
    return principal
