"""FastAPI's own refusals in the shape of ID-54."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from millrace_runtime.clock import Clock
from millrace_runtime.edge import error_bytes
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.logs import get_logger, request_id

log = get_logger(__name__)

_MAX_FIELDS = 10
_MAX_FIELD_NAME = 100

_CODES = {
    400: ErrorCode.INVALID_REQUEST,
    401: ErrorCode.UNAUTHORIZED,
    403: ErrorCode.FORBIDDEN,
    404: ErrorCode.NOT_FOUND,
    413: ErrorCode.PAYLOAD_TOO_LARGE,
    429: ErrorCode.RATE_LIMITED,
    500: ErrorCode.INTERNAL,
    503: ErrorCode.UNAVAILABLE,
}


def install_error_handlers(app: FastAPI, clock: Clock) -> None:
    """Answer `ServiceError`, validation errors, unknown routes and wrong methods by one body.

    Everything else reaches the `Edge`, which answers 500.
    """

    def answer(error: ServiceError, headers: Any = None) -> Response:
        body = error_bytes(error, request_id=request_id.get(), clock=clock)
        return Response(body, error.http_status, headers, media_type="application/json")

    async def on_service_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, ServiceError)
        if error.http_status >= 500:
            log.warning(
                "request_refused", code=error.code.code, reason=error.message, exc_info=error.__cause__
            )
        return answer(error)

    async def on_validation_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answer(_from_validation(error.errors()))

    async def on_http_exception(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if isinstance(error.__cause__, ServiceError):  # raised below FastAPI while it read the body
            return answer(error.__cause__)
        return answer(_from_status(error), error.headers)

    app.add_exception_handler(ServiceError, on_service_error)
    app.add_exception_handler(RequestValidationError, on_validation_error)
    app.add_exception_handler(HTTPException, on_http_exception)


def _from_validation(problems: Sequence[Any]) -> ServiceError:
    """One message naming the first field, all of them in the details; never what was sent."""
    fields = [{"field": _field(p), "message": str(p["msg"])} for p in problems[:_MAX_FIELDS]]
    first = fields[0]
    return ServiceError(
        ErrorCode.INVALID_REQUEST, f"{first['field']}: {first['message']}", details={"fields": fields}
    )


def _field(problem: Any) -> str:
    """`size` for a body field or query parameter, `items.3.name` within lists, `body` for all of it."""
    if problem["type"] == "json_invalid":
        return "body"
    where = [str(part) for part in problem["loc"]]
    return ".".join(where[1:] or where)[:_MAX_FIELD_NAME]


def _from_status(error: HTTPException) -> ServiceError:
    status = error.status_code
    fallback = ErrorCode.INTERNAL if status >= 500 else ErrorCode.INVALID_REQUEST
    code = _CODES.get(status, fallback)
    phrase = HTTPStatus(status).phrase
    message = phrase if status >= 500 else str(error.detail or phrase)
    return ServiceError(code, message, http_status=status)
