"""gRPC: `millrace.query.v1.SqlService`."""

from __future__ import annotations  # the stubs' generic classes are not generic at run time

from collections.abc import AsyncIterator
from typing import Any

import grpc

from millrace.query.v1 import sql_pb2 as pb
from millrace.query.v1 import sql_pb2_grpc
from millrace_runtime.auth import Verifier, principal_from_metadata
from query_service.formats import Format
from query_service.rpc import FILES_OPENED_TRAILER, warning_trailers
from query_service.search.request import refusal
from query_service.search.shape import MAX_CHUNK_BYTES
from query_service.sql.engine import SqlAsker
from query_service.sql.question import checked_question
from query_service.sql.shape import RENDERERS

SERVICE_NAME = "millrace.query.v1.SqlService"
TRUNCATED_TRAILER = "x-truncated"
ROWS_TRAILER = "x-row-count"

_FORMATS = {
    pb.SQL_FORMAT_UNSPECIFIED: Format.ARROW,
    pb.SQL_FORMAT_ARROW: Format.ARROW,
    pb.SQL_FORMAT_JSON: Format.JSON,
    pb.SQL_FORMAT_CSV: Format.CSV,
}

Context = grpc.aio.ServicerContext[Any, Any]


class SqlServicer(sql_pb2_grpc.SqlServiceServicer):
    """Needs `lake:read`, and `lake:unmask` for clear values."""

    def __init__(self, asker: SqlAsker, verifier: Verifier) -> None:
        self._asker = asker
        self._verifier = verifier

    async def Sql(self, request: pb.SqlRequest, context: Context) -> AsyncIterator[pb.SqlResponse]:  # noqa: N802
        who = await principal_from_metadata(self._verifier, context)
        who.require("lake:read")
        if request.unmask:
            who.require("lake:unmask")
        wanted = _FORMATS.get(request.format)
        if wanted is None:
            raise refusal("format", "is not one of SqlFormat")
        question = checked_question(
            request.sql, request.limit or None, unmask=request.unmask, limits=self._asker.limits
        )
        answer, body = await self._asker.ask(question, RENDERERS[wanted])
        context.set_trailing_metadata(
            (
                (TRUNCATED_TRAILER, str(answer.truncated).lower()),
                (ROWS_TRAILER, str(answer.rows)),
                (FILES_OPENED_TRAILER, str(answer.files)),
                *warning_trailers(answer.warnings),
            )
        )
        for start in range(0, len(body), MAX_CHUNK_BYTES):
            yield pb.SqlResponse(chunk=body[start : start + MAX_CHUNK_BYTES])
