"""`idgen.v1.IdService` (ID-55, ID-56)."""

from collections.abc import AsyncIterator
from typing import Any, Final

from id_service.catalog.tag import TagName
from id_service.parse.reader import Reader, tag_name
from id_service.router.issue import Issued, Issuer
from idgen.v1 import idgen_pb2, idgen_pb2_grpc
from millrace_runtime.auth import Verifier, principal_from_metadata
from millrace_runtime.health import Health

SERVICE_NAME: Final = idgen_pb2.DESCRIPTOR.services_by_name["IdService"].full_name

_Status = idgen_pb2.HealthCheckResponse
_PROTOCOL: Final = "grpc"


class IdServicer(idgen_pb2_grpc.IdServiceServicer):
    """Every method but HealthCheck needs metadata `x-api-key`; a `ServiceError` becomes its status."""

    def __init__(
        self,
        *,
        issuer: Issuer,
        reader: Reader,
        verifier: Verifier,
        health: Health,
        service_names: frozenset[str],
    ) -> None:
        self._issuer = issuer
        self._reader = reader
        self._verifier = verifier
        self._health = health
        self._service_names = service_names

    async def Generate(  # noqa: N802
        self, request: idgen_pb2.GenerateRequest, context: Any
    ) -> idgen_pb2.GenerateResponse:
        """One id of a tag."""
        issued = await self._issue(request, 1, context)
        return idgen_pb2.GenerateResponse(
            id=issued.ids[0], algorithm=issued.algorithm, timestamp=issued.at_ms
        )

    async def BatchGenerate(  # noqa: N802
        self, request: idgen_pb2.BatchGenerateRequest, context: Any
    ) -> idgen_pb2.BatchGenerateResponse:
        """Exactly `size` ids of one algorithm; a missing size is 0 and refused."""
        issued = await self._issue(request, request.size, context)
        return idgen_pb2.BatchGenerateResponse(
            ids=issued.ids, algorithm=issued.algorithm, count=len(issued.ids), timestamp=issued.at_ms
        )

    async def BatchGenerateStream(  # noqa: N802
        self, request_iterator: AsyncIterator[idgen_pb2.BatchGenerateStreamRequest], context: Any
    ) -> AsyncIterator[idgen_pb2.BatchGenerateStreamResponse]:
        """One answer for each request, in order; the first refused request ends the stream.

        The next request is read when the answer before it was handed to the transport, which waits
        for a slow reader: nothing is queued here, and earlier answers go out before the status. The
        key is checked for every request, so a revoked one does not live on in an open stream.
        """
        index = 0
        async for request in request_iterator:
            issued = await self._issue(request, request.size, context)
            yield idgen_pb2.BatchGenerateStreamResponse(
                request_index=index, ids=issued.ids, algorithm=issued.algorithm
            )
            index += 1

    async def Parse(  # noqa: N802
        self, request: idgen_pb2.ParseRequest, context: Any
    ) -> idgen_pb2.ParseResponse:
        """What an id says of itself; parts that are not defined stay 0."""
        caller = await principal_from_metadata(self._verifier, context)
        name = tag_name(request.workspace, request.group, request.biz_tag)
        parsed = await self._reader.read(caller, request.id, name=name, algorithm=request.algorithm)
        return idgen_pb2.ParseResponse(
            id=parsed.original_id,
            numeric_value=str(parsed.number),
            algorithm=parsed.algorithm,
            timestamp=parsed.at_ms or 0,
            datacenter_id=parsed.datacenter_id or 0,
            worker_id=parsed.worker_id or 0,
            sequence=parsed.sequence or 0,
            biz_tag=parsed.biz_tag or "",
        )

    async def HealthCheck(  # noqa: N802
        self, request: idgen_pb2.HealthCheckRequest, context: Any
    ) -> idgen_pb2.HealthCheckResponse:
        """Whether ids can be issued; needs no key. The empty name asks about the whole server."""
        if request.service and request.service not in self._service_names:
            return _Status(status=_Status.SERVICE_UNKNOWN)
        ready = (await self._health.ready())["ready"]
        return _Status(status=_Status.SERVING if ready else _Status.NOT_SERVING)

    async def _issue(self, request: Any, size: int, context: Any) -> Issued:
        caller = await principal_from_metadata(self._verifier, context)
        name = TagName(request.workspace, request.group, request.biz_tag)
        return await self._issuer.issue(
            caller, name, size=size, algorithm=request.algorithm, protocol=_PROTOCOL
        )
