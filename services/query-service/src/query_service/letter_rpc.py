"""gRPC: `millrace.query.v1.DeadLetterService`."""

from __future__ import annotations  # the stubs' generic classes are not generic at run time

from millrace.query.v1 import dead_letters_pb2 as pb
from millrace.query.v1 import dead_letters_pb2_grpc
from millrace_runtime.auth import Verifier, principal_from_metadata
from millrace_runtime.errors import ErrorCode, ServiceError
from query_service.ask import Asker
from query_service.rpc import Context, tell_in_trailers
from query_service.search.letter_request import FILTERS, LetterSearch, checked_letters, one_letter
from query_service.search.shape import proto_letters

LETTERS_SERVICE_NAME = "millrace.query.v1.DeadLetterService"


class DeadLetterServicer(dead_letters_pb2_grpc.DeadLetterServiceServicer):
    """Every method needs `lake:read`, and `lake:unmask` for clear values."""

    def __init__(self, asker: Asker, verifier: Verifier) -> None:
        self._asker = asker
        self._verifier = verifier

    async def ListDeadLetters(  # noqa: N802
        self, request: pb.ListDeadLettersRequest, context: Context
    ) -> pb.ListDeadLettersResponse:
        await self._permit(context, unmask=request.unmask)
        found = await self._asker.letters(_search(request), proto_letters)
        tell_in_trailers(context, found)
        return pb.ListDeadLettersResponse(total=found.total, items=found.items)

    async def GetDeadLetter(  # noqa: N802
        self, request: pb.GetDeadLetterRequest, context: Context
    ) -> pb.GetDeadLetterResponse:
        await self._permit(context, unmask=request.unmask)
        found = await self._asker.letters(one_letter(request.id, unmask=request.unmask), proto_letters)
        tell_in_trailers(context, found)
        if not found.items:
            raise ServiceError(ErrorCode.NOT_FOUND, "id: no dead letter is of this origin")
        return pb.GetDeadLetterResponse(items=found.items)

    async def _permit(self, context: Context, *, unmask: bool) -> None:
        principal = await principal_from_metadata(self._verifier, context)
        principal.require("lake:read")
        if unmask:
            principal.require("lake:unmask")


def _search(request: pb.ListDeadLettersRequest) -> LetterSearch:
    present = {field.name for field, _ in request.ListFields()}
    return checked_letters(
        request.start_date,
        request.end_date,
        {name: list(getattr(request, name).values) for name in FILTERS if name in present},
        landed=request.landed if request.HasField("landed") else None,
        limit=request.limit or None,
        offset=request.offset,
        unmask=request.unmask,
        names=("start_date", "end_date"),
    )
