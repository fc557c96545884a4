"""The holder of an API key."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, Protocol

from millrace_runtime.errors import ErrorCode, ServiceError

Role = Literal["admin", "user"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who holds a key and what it may do.

    `workspace` is None for a global administrator; `expires_at_ms` is 0 for a key without end;
    `rate_limit` is in requests a second.
    """

    key_id: str
    workspace: str | None
    role: Role
    scopes: frozenset[str]
    expires_at_ms: int
    rate_limit: int

    def require(self, scope: str) -> None:
        """Raise FORBIDDEN unless the key has this scope (ID-60)."""
        if scope not in self.scopes:
            raise ServiceError(ErrorCode.FORBIDDEN, f"this API key lacks the scope {scope}")


class Verifier(Protocol):
    """Whoever knows the keys."""

    async def check(self, api_key: str) -> Principal:
        """The holder of the key.

        Raises `ServiceError`: INVALID_API_KEY (unknown), API_KEY_DISABLED (disabled or revoked),
        API_KEY_EXPIRED, or UNAVAILABLE when nobody can tell now (never 401 then, ID-58).
        """


def key_hash(api_key: str) -> str:
    """SHA-256 of the key text in hexadecimal: the only form in which a key is kept (ID-57)."""
    return sha256(api_key.encode(errors="surrogatepass")).hexdigest()
