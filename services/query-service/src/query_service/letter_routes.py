"""HTTP: `/api/v1/dead-letters` and `/api/v1/dead-letters/{id}` (LAKE-91)."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from millrace_runtime.auth import Principal
from millrace_runtime.errors import ErrorCode, ServiceError
from query_service.ask import Asker
from query_service.describe import LETTER_DESCRIPTION, LETTERS_DESCRIPTION
from query_service.routes import answer, headers_of, page_of, require_scope
from query_service.search.letter_request import parse_letter, parse_letters
from query_service.search.shape import json_rows


def letter_routes(asker: Asker, principal: Callable[..., Awaitable[Principal]]) -> APIRouter:
    """The routes; `principal` is the dependency that gives the caller."""
    router = APIRouter(prefix="/api/v1")
    caller = Annotated[Principal, Depends(principal)]

    @router.get("/dead-letters", openapi_extra=LETTERS_DESCRIPTION)
    async def letters(request: Request, who: caller) -> Response:
        """Dead letters, ordered by the time of landing, then origin."""
        require_scope(who, unmask=False)
        asked = parse_letters(request.query_params.multi_items())
        require_scope(who, unmask=asked.unmask)
        return page_of(asked, await asker.letters(asked, json_rows))

    @router.get("/dead-letters/{id:path}", openapi_extra=LETTER_DESCRIPTION)
    async def one(request: Request, who: caller) -> Response:
        """The dead letters of one origin: as a rule one, several where a journal was replaced."""
        require_scope(who, unmask=False)
        asked = parse_letter(request.path_params["id"], request.query_params.multi_items())
        require_scope(who, unmask=asked.unmask)
        found = await asker.letters(asked, json_rows)
        if not found.items:
            details: dict[str, Any] = {"parameter": "id"}
            if found.warnings:
                details["warnings"] = found.warnings
            raise ServiceError(ErrorCode.NOT_FOUND, "id: no dead letter is of this origin", details=details)
        return answer({"items": found.items, "warnings": found.warnings}, headers_of(found))

    return router
