"""gRPC Publish: the same way in as the webhook, for callers with a key (`lake:publish`)."""

from __future__ import annotations  # the stubs' generic classes are not generic at run time

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc

from ingest_service.accept.intake import Accepted, Intake, Outcome
from ingest_service.accept.rejects import Sender
from millrace.events.v1 import envelope_pb2
from millrace.ingest.v1 import ingest_pb2, ingest_pb2_grpc
from millrace_ports.errors import PortError
from millrace_runtime.auth import Verifier, principal_from_metadata
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.logs import get_logger, request_id
from millrace_runtime.metrics import Metrics
from millrace_runtime.tracing import current

log = get_logger(__name__)

SERVICE_NAME = ingest_pb2.DESCRIPTOR.services_by_name["IngestService"].full_name
_SCOPE = "lake:publish"


class IngestServicer(ingest_pb2_grpc.IngestServiceServicer):
    """Answers when everything of a call is durable, or UNAVAILABLE."""

    def __init__(self, intake: Intake, verifier: Verifier, metrics: Metrics) -> None:
        self._intake = intake
        self._verifier = verifier
        self._refused = metrics.counter("millrace_refused")

    async def Publish(  # noqa: N802
        self, request: ingest_pb2.PublishRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> ingest_pb2.PublishResponse:
        """One result per payload, in order."""
        await self._admit(context)
        outcomes = await self._keep(request.payloads, context)
        return ingest_pb2.PublishResponse(results=[_result(outcome) for outcome in outcomes])

    async def PublishStream(  # noqa: N802
        self,
        request_iterator: AsyncIterator[ingest_pb2.PublishStreamRequest],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> ingest_pb2.PublishStreamResponse:
        """Totals, once the whole stream is durable."""
        await self._admit(context)
        answer = ingest_pb2.PublishStreamResponse()
        async for request in request_iterator:
            outcomes = await self._keep(request.payloads, context)
            accepted = sum(isinstance(outcome, Accepted) for outcome in outcomes)
            answer.accepted += accepted
            answer.rejected += len(outcomes) - accepted
            current.set(None)  # a stream may have no end: what follows its first request is not traced
        return answer

    async def _admit(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        principal = await principal_from_metadata(self._verifier, context)
        principal.require(_SCOPE)

    async def _keep(
        self, payloads: Sequence[bytes], context: grpc.aio.ServicerContext[Any, Any]
    ) -> list[Outcome]:
        sender = Sender(request_id.get(), _ip(context.peer()))
        try:
            return await self._intake.take_all(payloads, sender)
        except PortError as error:
            self._refused.inc()
            log.warning("payload_not_stored", cause=str(error))
            raise ServiceError(ErrorCode.UNAVAILABLE, "Storage unavailable") from error


def _result(outcome: Outcome) -> ingest_pb2.PublishResult:
    if isinstance(outcome, Accepted):
        place = envelope_pb2.JournalOrigin(
            door=outcome.appended.door, journal=f"{outcome.appended.day}.jsonl", line=outcome.line
        )
        return ingest_pb2.PublishResult(accepted=place)
    return ingest_pb2.PublishResult(
        rejected=ingest_pb2.Rejected(
            error_type=outcome.error_type, reason=outcome.reason, error_message=outcome.message
        )
    )


def _ip(peer: str) -> str | None:
    """Address in a gRPC peer such as `ipv4:127.0.0.1:50514` or `ipv6:%5B::1%5D:50514`."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return None
    return rest.rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]")
