"""What can go wrong with coordination."""

from __future__ import annotations

from millrace_ports.errors import ConfigurationError, PortError


class CoordinationError(PortError):
    """The backend cannot be used; `retryable` says whether trying again may help."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class CoordinationUrlError(CoordinationError, ConfigurationError):
    """MILLRACE_COORDINATION or a setting beside it is missing or malformed; the text names it."""


class CoordinationRefusedError(CoordinationError, ConfigurationError):
    """The backend answers, but not to us (wrong password, no right, too old, TLS); the text names the setting."""


class LeaseLostError(CoordinationError):
    """The lease ran out or somebody else holds the name by now. Stop acting under it."""

    def __init__(self, name: str, token: int) -> None:
        super().__init__(f"lease {name!r} with token {token} is lost")
        self.name = name
        self.token = token


class LockNotAcquiredError(CoordinationError):
    """Somebody else held the lock for as long as the caller was willing to wait."""

    def __init__(self, name: str, wait_s: float) -> None:
        super().__init__(f"lock {name!r} is held by another; waited {wait_s:g} s", retryable=True)
        self.name = name


class HistoryLostError(CoordinationError):
    """The changes from `revision` on cannot be told any more. List the keys again and watch from there."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"changes from revision {revision} on are not kept any more")
        self.revision = revision
