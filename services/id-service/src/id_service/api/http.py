"""The HTTP API (ID-49)."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from id_service.api.bodies import (
    BatchBody,
    GenerateBody,
    GeneratedBatch,
    GeneratedId,
    HealthBody,
    IdMetadata,
    Index,
    ParseBody,
    ParsedBody,
    ReadyBody,
    described,
    read_body,
)
from id_service.api.status import StatusProbe
from id_service.catalog.tag import TagName
from id_service.parse.read import ParsedId
from id_service.parse.reader import Reader, tag_name
from id_service.router.issue import Issuer
from millrace_runtime.auth import Principal, Verifier, api_key_dependency
from millrace_runtime.clock import Clock
from millrace_runtime.health import Health
from millrace_runtime.http import create_app

NAME: Final = "id-service"
VERSION: Final = "1.0.0"
PREFIX: Final = "/api/v1"
_DESCRIPTION: Final = "Globally unique ids: segment numbers and UUIDs"
_PROTOCOL: Final = "http"


def build_app(
    *,
    issuer: Issuer,
    reader: Reader,
    verifier: Verifier,
    clock: Clock,
    health: Health,
    probe: StatusProbe,
    registry: CollectorRegistry,
) -> FastAPI:
    """The application of port 8080: the API below /api/v1 with a key, health and metrics without."""
    app = create_app(NAME, VERSION, clock=clock)
    app.include_router(_ids(issuer, reader, api_key_dependency(verifier), clock), prefix=PREFIX)
    app.include_router(_operations(health, probe, registry))
    return app


def _ids(
    issuer: Issuer, reader: Reader, principal: Callable[..., Awaitable[Principal]], clock: Clock
) -> APIRouter:
    routes = APIRouter()
    Caller = Annotated[Principal, Depends(principal)]  # noqa: N806 a type made of this app's verifier

    @routes.get("/")
    async def index() -> Index:
        """What is served here; needs no key."""
        endpoints = ["GET /", "POST /generate", "POST /generate/batch", "POST /parse"]
        return Index(name=NAME, version=VERSION, description=_DESCRIPTION, endpoints=endpoints)

    @routes.post("/generate", openapi_extra=described(GenerateBody))
    async def generate(request: Request, caller: Caller) -> GeneratedId:
        """One id of a tag."""
        body = await read_body(request, GenerateBody)
        issued = await issuer.issue(
            caller, _named(body), size=1, algorithm=body.algorithm, protocol=_PROTOCOL
        )
        return GeneratedId(id=issued.ids[0], algorithm=issued.algorithm, timestamp=_rfc3339(issued.at_ms))

    @routes.post("/generate/batch", openapi_extra=described(BatchBody))
    async def generate_batch(request: Request, caller: Caller) -> GeneratedBatch:
        """Exactly `size` ids of one algorithm, or an error."""
        body = await read_body(request, BatchBody)
        issued = await issuer.issue(
            caller, _named(body), size=body.size, algorithm=body.algorithm, protocol=_PROTOCOL
        )
        return GeneratedBatch(
            ids=issued.ids,
            size=len(issued.ids),
            algorithm=issued.algorithm,
            timestamp=_rfc3339(issued.at_ms),
        )

    @routes.post("/parse", openapi_extra=described(ParseBody))
    async def parse(request: Request, caller: Caller) -> ParsedBody:
        """What an id says of itself."""
        body = await read_body(request, ParseBody)
        name = tag_name(body.workspace, body.group, body.biz_tag)
        parsed = await reader.read(caller, body.id, name=name, algorithm=body.algorithm)
        return _parsed_body(parsed, clock)

    return routes


def _operations(health: Health, probe: StatusProbe, registry: CollectorRegistry) -> APIRouter:
    routes = APIRouter()

    @routes.get("/health")
    async def health_now(response: Response) -> HealthBody:
        """200, or 503 when no algorithm can issue."""
        status = await probe.status()
        response.status_code = 503 if status.algorithm is None else 200
        state = {"healthy": "normal", "degraded": "degraded", "unhealthy": "critical"}[status.name]
        return HealthBody(status=status.name, algorithm=status.algorithm, state=state)

    @routes.get("/ready")
    async def ready(response: Response) -> ReadyBody:
        """200 while requests may be sent here, else 503."""
        report: dict[str, Any] = await health.ready()
        status = await probe.status()
        response.status_code = 200 if report["ready"] else 503
        reasons = [f"{name}: {report['checks'][name]}" for name in report["failing"]]
        if not status.database:
            reasons.append("the database does not answer")
        return ReadyBody(
            ready=report["ready"], database=status.database, message="; ".join(reasons) or "ready"
        )

    @routes.get("/live")
    async def live() -> dict[str, bool]:
        """200 while the process answers at all."""
        return {"live": True}

    @routes.get("/metrics")
    async def metrics() -> Response:
        """Prometheus text."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return routes


def _named(body: GenerateBody) -> TagName:
    return TagName(body.workspace, body.group, body.biz_tag)


def _parsed_body(parsed: ParsedId, clock: Clock) -> ParsedBody:
    instant = parsed.instant
    return ParsedBody(
        original_id=parsed.original_id,
        numeric_value=str(parsed.number),
        algorithm=parsed.algorithm,
        metadata=IdMetadata(
            timestamp=parsed.at_ms,
            datetime=_written(instant) if instant else None,
            datacenter_id=parsed.datacenter_id,
            worker_id=parsed.worker_id,
            sequence=parsed.sequence,
            biz_tag=parsed.biz_tag,
        ),
        timestamp=_rfc3339(clock.now_ms()),
    )


def _rfc3339(ms: int) -> str:
    return _written(datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000))


def _written(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
