"""Errors that a caller may see: one closed set of codes, one body (ID-54).

The codes carry the name of their gRPC status instead of `grpc.StatusCode`, so that importing this
module costs nothing; `millrace_runtime.grpc` turns the name into the status.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum

MAX_CLIENT_MESSAGE_BYTES = 200
"""Longest message of a 4xx answer, in UTF-8 bytes (ID-54)."""


class ErrorCode(Enum):
    """The table of ID-54: code string, HTTP status, name of the gRPC status."""

    INVALID_REQUEST = ("IDGEN-COMMON-0001", 400, "INVALID_ARGUMENT")
    UNAUTHORIZED = ("IDGEN-COMMON-0002", 401, "UNAUTHENTICATED")
    RATE_LIMITED = ("IDGEN-COMMON-0003", 429, "RESOURCE_EXHAUSTED")
    INTERNAL = ("IDGEN-COMMON-0004", 500, "INTERNAL")
    UNAVAILABLE = ("IDGEN-COMMON-0005", 503, "UNAVAILABLE")
    PAYLOAD_TOO_LARGE = ("IDGEN-COMMON-0006", 413, "RESOURCE_EXHAUSTED")
    UNSUPPORTED_API_VERSION = ("IDGEN-COMMON-0007", 400, "INVALID_ARGUMENT")
    FORBIDDEN = ("IDGEN-AUTH-1002", 403, "PERMISSION_DENIED")
    INVALID_API_KEY = ("IDGEN-AUTH-1003", 401, "UNAUTHENTICATED")
    API_KEY_EXPIRED = ("IDGEN-AUTH-1004", 401, "PERMISSION_DENIED")
    API_KEY_DISABLED = ("IDGEN-AUTH-1005", 401, "PERMISSION_DENIED")
    WORKSPACE_NOT_FOUND = ("IDGEN-RES-2001", 404, "NOT_FOUND")
    GROUP_NOT_FOUND = ("IDGEN-RES-2002", 404, "NOT_FOUND")
    BIZ_TAG_NOT_FOUND = ("IDGEN-RES-2003", 404, "NOT_FOUND")
    ALREADY_EXISTS = ("IDGEN-RES-2004", 409, "ALREADY_EXISTS")
    QUOTA_EXCEEDED = ("IDGEN-RES-2005", 409, "FAILED_PRECONDITION")
    WORKSPACE_DISABLED = ("IDGEN-RES-2006", 403, "PERMISSION_DENIED")
    NOT_FOUND = ("IDGEN-RES-2007", 404, "NOT_FOUND")
    SEGMENT_EXHAUSTED = ("IDGEN-SEG-1001", 500, "INTERNAL")
    SEGMENT_ALLOCATE_FAILED = ("IDGEN-SEG-1002", 500, "INTERNAL")
    DATABASE_UNAVAILABLE = ("IDGEN-SEG-1003", 503, "UNAVAILABLE")
    CLOCK_BACKWARD = ("IDGEN-SNOW-2001", 500, "INTERNAL")
    SEQUENCE_OVERFLOW = ("IDGEN-SNOW-2002", 500, "INTERNAL")
    NO_AVAILABLE_WORKER_ID = ("IDGEN-SNOW-2003", 503, "UNAVAILABLE")
    UUID_FAILED = ("IDGEN-UUID-3001", 500, "INTERNAL")
    CACHE_UNAVAILABLE = ("IDGEN-CACHE-4001", 503, "UNAVAILABLE")
    CACHE_EVICTED = ("IDGEN-CACHE-4002", 500, "INTERNAL")

    def __init__(self, code: str, http: int, grpc: str) -> None:
        self.code = code
        self.http = http
        self.grpc = grpc

    @classmethod
    def of(cls, code: str) -> "ErrorCode | None":
        """The member with this code string, as found in the trailer `idgen-error-code`."""
        return _BY_CODE.get(code)


_BY_CODE = {member.code: member for member in ErrorCode}


class ServiceError(Exception):
    """A failure whose message is written for the caller: no SQL, host, path or payload in it.

    `http_status` differs from the code's own only for the few HTTP answers that have no code of
    their own, such as 405.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        details: Mapping[str, object] | None = None,
        http_status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        # A lone surrogate that came in as JSON could not be sent back out.
        clean = message.encode(errors="replace").decode()
        self.message = _shortened(clean) if code.http < 500 else clean
        self.details = dict(details) if details else {}
        self.http_status = http_status or code.http

    def __str__(self) -> str:
        return f"{self.code.code}: {self.message}"


def error_body(error: ServiceError, *, request_id: str, now: datetime) -> dict[str, object]:
    """The JSON body of ID-54. `now` is timezone-aware; the timestamp is RFC 3339."""
    return {
        "error": {
            "code": error.code.code,
            "message": error.message,
            "details": error.details,
            "timestamp": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "request_id": request_id,
        }
    }


def _shortened(message: str) -> str:
    """The message cut to the allowed bytes, never within a character."""
    encoded = message.encode()
    if len(encoded) <= MAX_CLIENT_MESSAGE_BYTES:
        return message
    return encoded[: MAX_CLIENT_MESSAGE_BYTES - 3].decode(errors="ignore") + "..."
