"""What can go wrong with the key-value store."""

from __future__ import annotations

from millrace_ports.errors import ConfigurationError, PortError


class KvError(PortError):
    """The backend cannot do it; `retryable` says whether trying again may help."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class KvUrlError(KvError, ConfigurationError):
    """MILLRACE_KV or a setting beside it is missing or malformed; the text names it."""


class KvRefusedError(KvError, ConfigurationError):
    """The backend answers, but not to us (wrong password, no right, too old, no TLS, taken); the text names
    the setting to change."""


class KvValueError(KvError):
    """The key holds something that the operation is not for: no integer, or the events of `Kv.admit`."""
