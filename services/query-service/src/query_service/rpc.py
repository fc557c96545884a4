"""gRPC: `millrace.query.v1.QueryService`."""

from __future__ import annotations  # the stubs' generic classes are not generic at run time

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import grpc

from millrace.query.v1 import query_pb2 as pb
from millrace.query.v1 import query_pb2_grpc
from millrace_runtime.auth import Verifier, principal_from_metadata
from query_service.ask import Asker, Found
from query_service.search.columns import COLUMNS, CONTACT_COLUMNS, FILTERS
from query_service.search.contact_request import ContactSearch, checked_moment, checked_usernames
from query_service.search.request import (
    Filter,
    Search,
    checked_columns,
    checked_filter,
    checked_limit,
    checked_lookup,
    checked_offset,
    refusal,
)
from query_service.search.shape import arrow_chunks, proto_contacts, proto_rows

SERVICE_NAME = "millrace.query.v1.QueryService"
WARNINGS_TRAILER = "x-warnings"
FILES_OPENED_TRAILER = "x-files-opened"

Context = grpc.aio.ServicerContext[Any, Any]


class QueryServicer(query_pb2_grpc.QueryServiceServicer):
    """Every method needs `lake:read`, and `lake:unmask` for clear values. The trailer `x-warnings`
    names files whose rows are missing from an answer."""

    def __init__(self, asker: Asker, verifier: Verifier) -> None:
        self._asker = asker
        self._verifier = verifier

    async def Search(self, request: pb.SearchRequest, context: Context) -> pb.SearchResponse:  # noqa: N802
        await self._permit(context, unmask=request.unmask)
        found = await self._asker.page(_search(request, paged=True), proto_rows)
        tell_in_trailers(context, found)
        return pb.SearchResponse(total=found.total, items=found.items)

    async def SearchArrow(  # noqa: N802
        self, request: pb.SearchArrowRequest, context: Context
    ) -> AsyncIterator[pb.SearchArrowResponse]:
        await self._permit(context, unmask=request.unmask)
        found = await self._asker.stream(_search(request, paged=False), arrow_chunks)
        tell_in_trailers(context, found)
        async with aclosing(found.items) as chunks:
            async for chunk in chunks:  # the next one is made when this one has been taken
                yield pb.SearchArrowResponse(ipc=chunk)

    async def GetByIds(self, request: pb.GetByIdsRequest, context: Context) -> pb.GetByIdsResponse:  # noqa: N802
        await self._permit(context, unmask=request.unmask)
        lookup = checked_lookup(
            list(request.msg_ids), _fields(list(request.columns), COLUMNS), unmask=request.unmask
        )
        found = await self._asker.lookup(lookup, proto_rows)
        tell_in_trailers(context, found)
        return pb.GetByIdsResponse(items=found.items)

    async def SearchContacts(  # noqa: N802
        self, request: pb.SearchContactsRequest, context: Context
    ) -> pb.SearchContactsResponse:
        await self._permit(context, unmask=request.unmask)
        found = await self._asker.contacts(_contact_search(request), proto_contacts)
        tell_in_trailers(context, found)
        return pb.SearchContactsResponse(total=found.total, items=found.items)

    async def Count(self, request: pb.CountRequest, context: Context) -> pb.CountResponse:  # noqa: N802
        await self._permit(context, unmask=False)
        found = await self._asker.count(_filter(request.filter))
        tell_in_trailers(context, found)
        return pb.CountResponse(total=found.total)

    async def _permit(self, context: Context, *, unmask: bool) -> None:
        principal = await principal_from_metadata(self._verifier, context)
        principal.require("lake:read")
        if unmask:
            principal.require("lake:unmask")


def _search(request: pb.SearchRequest | pb.SearchArrowRequest, *, paged: bool) -> Search:
    columns = list(request.columns)
    return Search(
        filter=_filter(request.filter),
        columns=_fields(columns, COLUMNS) if paged else checked_columns(columns),
        limit=checked_limit(request.limit or None, paged=paged),
        offset=checked_offset(request.offset),
        unmask=request.unmask,
    )


def _contact_search(request: pb.SearchContactsRequest) -> ContactSearch:
    """An absent condition does not filter; a present set of names without one matches no row."""
    names = list(request.username.values) if request.HasField("username") else None
    since = request.changed_since if request.HasField("changed_since") else None
    return ContactSearch(
        usernames=checked_usernames(names),
        chatroom=request.chatroom if request.HasField("chatroom") else None,
        deleted=request.deleted if request.HasField("deleted") else None,
        changed_since=None if since is None else checked_moment("changed_since", since),
        columns=_fields(list(request.columns), CONTACT_COLUMNS),
        limit=checked_limit(request.limit or None, paged=True),
        offset=checked_offset(request.offset),
        unmask=request.unmask,
    )


def _fields(asked: list[str], fields: tuple[str, ...]) -> tuple[str, ...]:
    """The columns asked for, which have to be fields of the message that carries them; none: all of those."""
    for name in asked:
        if name not in fields:
            raise refusal("columns", f"unknown column {name[:64]!r}")
    return checked_columns(asked) or fields


def _filter(message: pb.MessageFilter) -> Filter:
    """An absent set does not filter; a present one without values matches no row."""
    present = {field.name for field, _ in message.ListFields()}
    any_of = {name: list(getattr(message, name).values) for name in FILTERS if name in present}
    return checked_filter(message.start_date, message.end_date, any_of, names=("start_date", "end_date"))


def tell_in_trailers(context: Context, found: Found[Any]) -> None:
    """How many files were opened for an answer, and what it lacks."""
    trailers = [(FILES_OPENED_TRAILER, str(found.files_opened))]
    context.set_trailing_metadata((*trailers, *warning_trailers(found.warnings)))


def warning_trailers(warnings: Sequence[str]) -> list[tuple[str, str]]:
    """The first warnings as trailers, in ASCII."""
    return [
        (WARNINGS_TRAILER, warning.encode("ascii", "backslashreplace").decode()) for warning in warnings[:20]
    ]
