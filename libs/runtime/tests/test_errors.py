from datetime import UTC, datetime

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_runtime.errors import ErrorCode, ServiceError, error_body

NOW = datetime(2026, 3, 5, 12, 30, 0, 123_456, tzinfo=UTC)


def test_body_has_exactly_the_fields_of_the_contract() -> None:
    error = ServiceError(ErrorCode.BIZ_TAG_NOT_FOUND, "tag order-id: not found", details={"tag": "order-id"})
    assert error_body(error, request_id="r-1", now=NOW) == {
        "error": {
            "code": "IDGEN-RES-2003",
            "message": "tag order-id: not found",
            "details": {"tag": "order-id"},
            "timestamp": "2026-03-05T12:30:00.123Z",
            "request_id": "r-1",
        }
    }


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_code_has_a_real_http_and_grpc_status(code: ErrorCode) -> None:
    assert 400 <= code.http < 600
    assert grpc.StatusCode[code.grpc] is not grpc.StatusCode.OK
    assert ErrorCode.of(code.code) is code


@pytest.mark.parametrize(
    ("code", "text", "http", "status"),
    [
        (ErrorCode.INVALID_REQUEST, "IDGEN-COMMON-0001", 400, "INVALID_ARGUMENT"),
        (ErrorCode.UNAUTHORIZED, "IDGEN-COMMON-0002", 401, "UNAUTHENTICATED"),
        (ErrorCode.PAYLOAD_TOO_LARGE, "IDGEN-COMMON-0006", 413, "RESOURCE_EXHAUSTED"),
        (ErrorCode.API_KEY_EXPIRED, "IDGEN-AUTH-1004", 401, "PERMISSION_DENIED"),
        (ErrorCode.QUOTA_EXCEEDED, "IDGEN-RES-2005", 409, "FAILED_PRECONDITION"),
        (ErrorCode.DATABASE_UNAVAILABLE, "IDGEN-SEG-1003", 503, "UNAVAILABLE"),
    ],
)
def test_codes_are_those_of_the_table(code: ErrorCode, text: str, http: int, status: str) -> None:
    assert (code.code, code.http, code.grpc) == (text, http, status)


def test_unknown_code_text_is_no_code() -> None:
    assert ErrorCode.of("IDGEN-COMMON-9999") is None


@given(st.text(st.characters(), max_size=400))
def test_client_messages_fit_200_bytes_and_can_always_be_sent(message: str) -> None:
    shown = ServiceError(ErrorCode.INVALID_REQUEST, message).message
    assert len(shown.encode()) <= 200
    clean = message.encode(errors="replace").decode()
    assert shown == clean or clean.startswith(shown.removesuffix("..."))


def test_long_server_side_messages_are_not_cut() -> None:
    assert len(ServiceError(ErrorCode.UNAVAILABLE, "x" * 300).message) == 300
