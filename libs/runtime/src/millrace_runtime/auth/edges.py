"""Where a request carries its key: HTTP headers and gRPC metadata."""

from collections.abc import Awaitable, Callable
from typing import Any

from millrace_runtime.auth.principal import Principal, Verifier
from millrace_runtime.errors import ErrorCode, ServiceError

_MISSING = "an API key is required: header X-API-Key"


def api_key_dependency(verifier: Verifier) -> Callable[..., Awaitable[Principal]]:
    """A FastAPI dependency that gives the `Principal` of `X-API-Key`, or of its alias
    `Authorization: ApiKey <key>` (ID-49). Without a key: UNAUTHORIZED.

        async def search(principal: Annotated[Principal, Depends(api_key_dependency(verifier))]): ...
    """
    from fastapi import Header, Security
    from fastapi.security import APIKeyHeader

    async def principal(
        api_key: str | None = Security(APIKeyHeader(name="X-API-Key", auto_error=False)),
        authorization: str | None = Header(default=None, include_in_schema=False),
    ) -> Principal:
        key = api_key or _from_authorization(authorization)
        if not key:
            raise ServiceError(ErrorCode.UNAUTHORIZED, _MISSING)
        return await verifier.check(key)

    return principal


async def principal_from_metadata(verifier: Verifier, context: Any) -> Principal:
    """The `Principal` of the gRPC metadata `x-api-key` (ID-55). Without it: UNAUTHORIZED."""
    for name, value in context.invocation_metadata() or ():
        if name == "x-api-key" and value:
            return await verifier.check(value)
    raise ServiceError(ErrorCode.UNAUTHORIZED, "an API key is required: metadata x-api-key")


def _from_authorization(value: str | None) -> str | None:
    scheme, _, key = (value or "").partition(" ")
    return key.strip() if scheme.lower() == "apikey" else None
