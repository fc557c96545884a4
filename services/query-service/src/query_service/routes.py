"""HTTP: `/api/v1/messages`, `/api/v1/messages/{msg_id}` and `/api/v1/contacts`."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse

from millrace_runtime.auth import Principal
from millrace_runtime.errors import ErrorCode, ServiceError
from query_service.ask import Asker, Encode, Found
from query_service.describe import CONTACTS_DESCRIPTION, LOOKUP_DESCRIPTION, SEARCH_DESCRIPTION
from query_service.formats import Format, accepted
from query_service.search.contact_request import ContactSearch, parse_contacts
from query_service.search.letter_request import LetterSearch
from query_service.search.request import Lookup, Search, parse_lookup, parse_search
from query_service.search.shape import arrow_chunks, csv_chunks, json_rows

_ENCODERS: dict[Format, Encode] = {Format.CSV: csv_chunks, Format.ARROW: arrow_chunks}
_MOST_WARNINGS = 20


def routes(asker: Asker, principal: Callable[..., Awaitable[Principal]]) -> APIRouter:
    """The routes; `principal` is the dependency that gives the caller."""
    router = APIRouter(prefix="/api/v1")
    caller = Annotated[Principal, Depends(principal)]

    @router.get("/messages", openapi_extra=SEARCH_DESCRIPTION)
    async def search(request: Request, who: caller) -> Response:
        """Messages of whole UTC days, ordered by create_time, then msg_id."""
        require_scope(who, unmask=False)
        wanted = accepted(request.headers.get("accept"))
        asked = parse_search(request.query_params.multi_items(), paged=wanted is Format.JSON)
        require_scope(who, unmask=asked.unmask)
        if wanted is Format.JSON:
            return page_of(asked, await asker.page(asked, json_rows))
        return await _streamed(asker, asked, wanted)

    @router.get("/messages/{msg_id:path}", openapi_extra=LOOKUP_DESCRIPTION)
    async def by_id(msg_id: str, request: Request, who: caller) -> Response:
        """One message by its msg_id."""
        require_scope(who, unmask=False)
        wanted = accepted(request.headers.get("accept"))
        asked = parse_lookup(msg_id, request.query_params.multi_items())
        require_scope(who, unmask=asked.unmask)
        return await _one(asker, asked, wanted)

    @router.get("/contacts", openapi_extra=CONTACTS_DESCRIPTION)
    async def contacts(request: Request, who: caller) -> Response:
        """Contacts and chatrooms, ordered by username."""
        require_scope(who, unmask=False)
        wanted = accepted(request.headers.get("accept"))
        asked = parse_contacts(request.query_params.multi_items(), paged=wanted is Format.JSON)
        require_scope(who, unmask=asked.unmask)
        if wanted is Format.JSON:
            return page_of(asked, await asker.contacts(asked, json_rows))
        return await _streamed(asker, asked, wanted)

    return router


def require_scope(who: Principal, *, unmask: bool) -> None:
    """Raise `ServiceError` FORBIDDEN unless the caller may read, or see clear values."""
    who.require("lake:unmask" if unmask else "lake:read")


def page_of(asked: Search | ContactSearch | LetterSearch, found: Found[list[dict[str, Any]]]) -> Response:
    """A page as JSON."""
    body = {
        "total": found.total,
        "items": found.items,
        "limit": asked.limit,
        "offset": asked.offset,
        "warnings": found.warnings,
    }
    return answer(body, headers_of(found))


async def _streamed(asker: Asker, asked: Search | ContactSearch, wanted: Format) -> Response:
    found = await asker.stream(asked, _ENCODERS[wanted])
    return StreamingResponse(found.items, media_type=wanted.value, headers=headers_of(found))


async def _one(asker: Asker, asked: Lookup, wanted: Format) -> Response:
    found = await asker.lookup(asked, list)
    if not found.items:
        details: dict[str, Any] = {"parameter": "msg_id"}
        if found.warnings:
            details["warnings"] = found.warnings
        raise ServiceError(ErrorCode.NOT_FOUND, "msg_id: no message has this id", details=details)
    if wanted is Format.JSON:
        return answer(json_rows(found.items)[0], headers_of(found))
    encoded = b"".join(_ENCODERS[wanted](found.items[0].schema, iter(found.items)))
    return Response(encoded, media_type=wanted.value, headers=headers_of(found))


def answer(body: object, headers: dict[str, str]) -> Response:
    """A body as JSON."""
    return Response(msgspec.json.encode(body), media_type=Format.JSON.value, headers=headers)


def headers_of(found: Found[Any]) -> dict[str, str]:
    """What the headers of an answer tell."""
    headers = {"X-Total-Count": str(found.total), "X-Files-Opened": str(found.files_opened)}
    if found.warnings:
        headers["X-Warnings"] = one_line(found.warnings)
    return headers


def one_line(warnings: Sequence[str]) -> str:
    """The warnings as one header: ASCII, bounded, the number of those left out at its end."""
    shown = list(warnings[:_MOST_WARNINGS])
    if len(warnings) > len(shown):
        shown.append(f"and {len(warnings) - len(shown)} more")
    return (
        " | ".join(shown).encode("ascii", "backslashreplace").decode().replace("\n", " ").replace("\r", " ")
    )
