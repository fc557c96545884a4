"""HTTP: `POST /api/v1/sql`."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from millrace_runtime.auth import Principal
from query_service.formats import Format, accepted
from query_service.routes import one_line, require_scope
from query_service.sql.engine import SqlAsker
from query_service.sql.question import Limits, parse_body
from query_service.sql.shape import RENDERERS


def sql_routes(asker: SqlAsker, principal: Callable[..., Awaitable[Principal]]) -> APIRouter:
    """The route; `principal` is the dependency that gives the caller."""
    router = APIRouter(prefix="/api/v1")
    caller = Annotated[Principal, Depends(principal)]

    @router.post("/sql", openapi_extra=_description(asker.limits))
    async def sql(request: Request, who: caller) -> Response:
        """One read-only statement in DuckDB's SQL about messages, contacts, other and dead_letters."""
        require_scope(who, unmask=False)
        wanted = accepted(request.headers.get("accept"))
        question = parse_body(await request.body(), asker.limits)
        if question.unmask:
            require_scope(who, unmask=True)
        answer, body = await asker.ask(question, RENDERERS[wanted])
        headers = {
            "X-Row-Count": str(answer.rows),
            "X-Truncated": str(answer.truncated).lower(),
            "X-Files-Opened": str(answer.files),
        }
        if answer.warnings:
            headers["X-Warnings"] = one_line(answer.warnings)
        return Response(body, media_type=wanted.value, headers=headers)

    return router


def _description(limits: Limits) -> dict[str, Any]:
    body = {
        "type": "object",
        "required": ["sql"],
        "additionalProperties": False,
        "properties": {
            "sql": {
                "type": "string",
                "description": "SELECT, WITH, DESCRIBE, SUMMARIZE, SHOW TABLES or EXPLAIN",
            },
            "limit": {
                "type": "integer",
                "minimum": 1,
                "maximum": limits.max_rows,
                "default": limits.rows,
                "description": "rows at most; X-Truncated tells whether there are more",
            },
            "unmask": {"type": "boolean", "default": False, "description": "clear values; needs lake:unmask"},
        },
    }
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {"description": "the rows", "content": {offered.value: {} for offered in Format}},
            "400": {"description": "the statement is not allowed, or not right"},
            "413": {"description": "it takes more time, memory or bytes than a question may"},
        },
    }
