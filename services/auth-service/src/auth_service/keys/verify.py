"""Whose key is this: the source behind the cached verifier."""

from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.database.engine import reading
from auth_service.keys.model import KeyPrincipal, principal_of
from auth_service.keys.store import key_by_hash
from auth_service.keys.text import owner_in
from millrace_runtime.auth import key_hash
from millrace_runtime.clock import Clock
from millrace_runtime.errors import ErrorCode, ServiceError


class StoreVerifier:
    """Reads every key from the database; put a `CachedVerifier` before it."""

    def __init__(self, engine: AsyncEngine, *, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def check(self, api_key: str) -> KeyPrincipal:
        """The holder of the key; see `Verifier.check`. A text that cannot be a key costs no query.

        Raises:
            ServiceError: INVALID_API_KEY, API_KEY_DISABLED, API_KEY_EXPIRED, or UNAVAILABLE when the
                database cannot tell (ID-58).
        """
        if owner_in(api_key) is None:
            raise _unknown()
        async with reading(self._engine) as connection:
            key = await key_by_hash(connection, key_hash(api_key))
        if key is None:
            raise _unknown()
        if not key.enabled:
            raise ServiceError(ErrorCode.API_KEY_DISABLED, "the API key is revoked")
        if self._clock.now_ms() >= key.expires_at_ms:
            raise ServiceError(ErrorCode.API_KEY_EXPIRED, "the API key has expired")
        return principal_of(key)


def _unknown() -> ServiceError:
    return ServiceError(ErrorCode.INVALID_API_KEY, "the API key is not known")
