"""gRPC underneath the clients: channels, metadata, deadlines, retries, errors as types."""

import json
from collections.abc import Iterable, Sequence
from typing import Final, cast
from uuid import uuid4

import grpc
from grpc import StatusCode, aio

from millrace.errors import (
    DeadlineExceededError,
    ForbiddenError,
    InvalidRequestError,
    LimitExceededError,
    MillraceError,
    NotFoundError,
    ServerFaultError,
    UnauthenticatedError,
    UnavailableError,
    UnreachableError,
)
from millrace.installation import Installation, ServiceName

Metadata = tuple[tuple[str, str], ...]

# UNAVAILABLE alone is repeated, and within the call's deadline. Then no answer was given: reads have
# no effect, and an id that nobody received is a gap. Nothing else is repeated: payloads of Publish may be stored,
# and notifications without a key of their own would be stored twice. A deadline is never repeated.
_REPEATED: Final = ("millrace.query.v1.QueryService", "idgen.v1.IdService")
_RETRY: Final = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": service} for service in _REPEATED],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 3,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            },
        ]
    }
)
_OPTIONS: Final[Sequence[tuple[str, str | int]]] = (
    ("grpc.service_config", _RETRY),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", 64 * 1024 * 1024),
    # A proxy of the environment is for the web; services are reached directly.
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # A host that vanished without a word is noticed by these, and not when TCP gives up after a quarter hour.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)

_TYPES: Final[dict[StatusCode, type[MillraceError]]] = {
    StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    StatusCode.FAILED_PRECONDITION: InvalidRequestError,
    StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    StatusCode.PERMISSION_DENIED: ForbiddenError,
    StatusCode.NOT_FOUND: NotFoundError,
    StatusCode.RESOURCE_EXHAUSTED: LimitExceededError,
    StatusCode.UNAVAILABLE: UnavailableError,
    StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
}


def open_channel(installation: Installation, service: ServiceName) -> grpc.Channel:
    """A channel to a service; it connects with the first call."""
    address = installation.grpc_address(service)
    if installation.secure:
        return grpc.secure_channel(address, _credentials(installation), options=_OPTIONS)
    return grpc.insecure_channel(address, options=_OPTIONS)


def open_async_channel(installation: Installation, service: ServiceName) -> aio.Channel:
    """As `open_channel`, for the running event loop."""
    address = installation.grpc_address(service)
    if installation.secure:
        return aio.secure_channel(address, _credentials(installation), options=_OPTIONS)
    return aio.insecure_channel(address, options=_OPTIONS)


def _credentials(installation: Installation) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(installation.authorities())


def metadata_for(installation: Installation) -> Metadata:
    """Key and a fresh request id; InstallationError without a key."""
    return (("x-api-key", installation.require_key()), ("x-request-id", str(uuid4())))


def translated(error: grpc.RpcError, address: str, metadata: Metadata) -> MillraceError:
    """The error as a type of ours, with the service's code and the call's request id."""
    request_id = dict(metadata)["x-request-id"]
    if not isinstance(error, grpc.Call | aio.AioRpcError):
        return ServerFaultError(str(error), request_id=request_id)
    status, details = error.code(), error.details() or ""
    pairs = cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ())
    trailers = {key: value for key, value in pairs if isinstance(value, str)}
    code = trailers.get("idgen-error-code")
    kind = _TYPES.get(status, ServerFaultError)
    if status is StatusCode.UNAVAILABLE and code is None:
        return UnreachableError(f"nothing answers at {address}: {details}", request_id=request_id)
    if status is StatusCode.DEADLINE_EXCEEDED and code is None:
        details = f"no answer from {address} in time"
    return kind(details or status.name, code=code, request_id=trailers.get("x-request-id", request_id))
