"""What goes wrong, as types. Every error of the SDK is a `MillraceError`."""


class MillraceError(Exception):
    """A call that did not succeed.

    `message` says what happened, `code` is the service's error code (ID-54) where it sent one,
    `request_id` finds the call in the service's log.
    """

    def __init__(self, message: str, *, code: str | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.request_id = request_id

    def __str__(self) -> str:
        return f"{self.message} ({self.code})" if self.code else self.message


class InstallationError(MillraceError):
    """No installation can be found: a setting is malformed or a key is missing. Nothing was sent."""


class InvalidRequestError(MillraceError):
    """The service refuses the parameters, or the client does before it sends them."""


class UnauthenticatedError(MillraceError):
    """The API key is missing or unknown."""


class ForbiddenError(MillraceError):
    """The API key is revoked or expired, or lacks the scope or the workspace."""


class NotFoundError(MillraceError):
    """Workspace, group, tag or another thing that was named does not exist."""


class LimitExceededError(MillraceError):
    """Too many requests, or a request that is too large."""


class UnavailableError(MillraceError):
    """The service cannot answer now. A later repeat may succeed."""


class UnreachableError(UnavailableError):
    """No service answers at the address."""


class DeadlineExceededError(MillraceError):
    """No answer in time. What the call does may have happened."""


class ServerFaultError(MillraceError):
    """The service failed; its log has the cause under `request_id`."""
