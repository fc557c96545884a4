"""Keys checked by auth-service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from millrace_runtime.auth.cached import CachedVerifier
from millrace_runtime.auth.principal import Principal
from millrace_runtime.clock import Clock
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.logs import get_logger
from millrace_runtime.peers import Peer, call_metadata, open_channel

if TYPE_CHECKING:
    import grpc

log = get_logger(__name__)

DEFAULT_RATE_LIMIT = 1000
"""Requests a second: CheckKey does not carry a key's own limit yet."""


class GrpcVerifier:
    """Asks CheckKey of the auth-service `peer`, over one channel that reconnects by itself; a call that finds it
    UNAVAILABLE is repeated within `timeout_s`. Put a `CachedVerifier` before it. gRPC is imported and the
    channel opened at first use. `authorities`: as `millrace_runtime.peers.open_channel`."""

    def __init__(self, peer: Peer | str, *, timeout_s: float = 2.0, authorities: bytes | None = None) -> None:
        self._peer = Peer.parse(peer)
        self._timeout_s = timeout_s
        self._authorities = authorities
        self._channel: Any = None
        self._stub: Any = None

    async def check(self, api_key: str) -> Principal:
        """As `Verifier.check`; UNAVAILABLE when auth-service does not answer within `timeout_s`."""
        import grpc

        from millrace.auth.v1 import auth_pb2, auth_pb2_grpc

        if self._stub is None:
            check_key = f"{auth_pb2.DESCRIPTOR.services_by_name['AuthService'].full_name}/CheckKey"
            self._channel = open_channel(self._peer, authorities=self._authorities, repeated=(check_key,))
            self._stub = auth_pb2_grpc.AuthServiceStub(self._channel)
        try:
            answer = await self._stub.CheckKey(
                auth_pb2.CheckKeyRequest(api_key=api_key), timeout=self._timeout_s, metadata=call_metadata()
            )
        except grpc.aio.AioRpcError as error:
            _refuse(error)
        key = answer.key
        return Principal(
            key_id=key.id,
            workspace=key.workspace or None,
            role="admin" if key.role == auth_pb2.ROLE_ADMIN else "user",
            scopes=frozenset(key.scopes),
            expires_at_ms=key.expires_at_ms,
            rate_limit=DEFAULT_RATE_LIMIT,
        )

    async def close(self) -> None:
        """Close the channel; a later check opens a new one."""
        channel, self._channel, self._stub = self._channel, None, None
        if channel is not None:
            await channel.close()


_REFUSALS = {
    ErrorCode.INVALID_API_KEY: "the API key is not known",
    ErrorCode.API_KEY_DISABLED: "the API key is disabled or revoked",
    ErrorCode.API_KEY_EXPIRED: "the API key has expired",
}


def _refuse(error: "grpc.aio.AioRpcError") -> NoReturn:
    """The refusal in the trailer, or else in the status; anything else means that nobody can tell."""
    trailers: Any = error.trailing_metadata() or ()
    code = ErrorCode.of(dict(trailers).get("idgen-error-code", ""))
    if code is None:
        code = {
            "UNAUTHENTICATED": ErrorCode.INVALID_API_KEY,
            "PERMISSION_DENIED": ErrorCode.API_KEY_DISABLED,
            "INVALID_ARGUMENT": ErrorCode.INVALID_API_KEY,
        }.get(error.code().name)
    if code in _REFUSALS:
        raise ServiceError(code, _REFUSALS[code]) from None
    log.warning("key_check_failed", status=error.code().name)
    raise ServiceError(ErrorCode.UNAVAILABLE, "API keys cannot be checked now; try again") from error


KEY_TTL_S = 3.5
"""How long a checked key is not asked about again. A key is refused everywhere 5 s after it was revoked (ID-59): this,
and the second at most in which another auth-service than the one that revoked it learns of that."""

KEY_OUTAGE_S = 60.0
"""How long a checked key goes on while auth-service is away: for a restart or a failover, not for good. Nobody can
revoke a key then, unless auth-service works and is only out of reach from here; ID-59 allows 300 s for that."""


@asynccontextmanager
async def remote_verifier(
    peer: Peer, *, clock: Clock, authorities: bytes | None = None
) -> AsyncIterator[CachedVerifier]:
    """A verifier that asks auth-service and remembers for `KEY_TTL_S`, in an outage for `KEY_OUTAGE_S`; see
    `GrpcVerifier`."""
    source = GrpcVerifier(peer, authorities=authorities)
    try:
        yield CachedVerifier(source, clock=clock, ttl_s=KEY_TTL_S, outage_s=KEY_OUTAGE_S)
    finally:
        await source.close()
