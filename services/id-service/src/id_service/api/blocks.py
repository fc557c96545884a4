"""`millrace.id.v1.IdBlockService`: blocks of ids for applications that issue by themselves."""

from typing import Any, Final

from id_service.catalog.tag import TagName
from id_service.router.issue import Issuer
from millrace.id.v1 import id_pb2, id_pb2_grpc
from millrace_runtime.auth import Verifier, principal_from_metadata

SERVICE_NAME: Final = id_pb2.DESCRIPTOR.services_by_name["IdBlockService"].full_name


class IdBlockServicer(id_pb2_grpc.IdBlockServiceServicer):
    """Needs metadata `x-api-key` with scope id:generate."""

    def __init__(self, *, issuer: Issuer, verifier: Verifier) -> None:
        self._issuer = issuer
        self._verifier = verifier

    async def LeaseBlock(  # noqa: N802
        self, request: id_pb2.LeaseBlockRequest, context: Any
    ) -> id_pb2.LeaseBlockResponse:
        """Exactly `size` ids of a segment tag, as rising ranges."""
        caller = await principal_from_metadata(self._verifier, context)
        name = TagName(request.workspace, request.group, request.biz_tag)
        block = await self._issuer.lease(caller, name, size=request.size, protocol="grpc")
        return id_pb2.LeaseBlockResponse(
            ranges=[id_pb2.IdRange(first=held.first, last=held.last) for held in block.ranges],
            allocated_at_ms=block.at_ms,
        )
