"""The JSON of the HTTP API (ID-49). Ids and their values are strings throughout (ID-3)."""

from typing import Annotated, Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from id_service.catalog.tag import NAME_PATTERN
from id_service.parse.read import MAX_ID_CHARS

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
AlgorithmName = Annotated[str, Field(min_length=1, max_length=20)]

DEFAULT_BATCH_SIZE = 10


class RequestBody(BaseModel):
    """No conversions, no unknown fields (ID-49, ID-52)."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


Body = TypeVar("Body", bound=RequestBody)


class GenerateBody(RequestBody):
    """Asks for one id of a tag."""

    workspace: Name
    group: Name
    biz_tag: Name
    algorithm: AlgorithmName | None = None


class BatchBody(GenerateBody):
    """Asks for `size` ids of a tag; the service's own limit may be lower than the schema's."""

    size: int = Field(default=DEFAULT_BATCH_SIZE, ge=1, le=10_000)


class ParseBody(RequestBody):
    """Asks what an id says of itself; the tag is named with all three names or not at all."""

    id: Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARS)]
    workspace: Name | None = None
    group: Name | None = None
    biz_tag: Name | None = None
    algorithm: AlgorithmName | None = None


class GeneratedId(BaseModel):
    """`timestamp`: RFC 3339, the time of the answer."""

    id: str
    algorithm: str
    timestamp: str


class GeneratedBatch(BaseModel):
    """`size` ids, rising in list order."""

    ids: list[str]
    size: int
    algorithm: str
    timestamp: str


class IdMetadata(BaseModel):
    """Null where the algorithm does not define a part. `timestamp`: Unix ms; `datetime`: RFC 3339."""

    timestamp: int | None
    datetime: str | None
    datacenter_id: int | None
    worker_id: int | None
    sequence: int | None
    biz_tag: str | None


class ParsedBody(BaseModel):
    """`numeric_value`: decimal, for a UUID that of its 128 bits. `timestamp`: the time of the answer."""

    original_id: str
    numeric_value: str
    algorithm: str
    metadata: IdMetadata
    timestamp: str


class Index(BaseModel):
    """What is served below /api/v1."""

    name: str
    version: str
    description: str
    endpoints: list[str]


class HealthBody(BaseModel):
    """`algorithm`: the best one that can issue now."""

    status: str
    algorithm: str | None
    state: str


class ReadyBody(BaseModel):
    """`cache`, `etcd` and `worker_id` are null in a service that runs without them."""

    ready: bool
    database: bool
    cache: bool | None = None
    etcd: bool | None = None
    worker_id: int | None = None
    message: str


async def read_body(request: Request, model: type[Body]) -> Body:
    """The request's JSON as `model`.

    Read here and not by a FastAPI parameter, so that a caller without a key is told nothing about the
    body, and the content type does not matter.

    Raises:
        RequestValidationError: answered as 400 naming the field.
        ServiceError: PAYLOAD_TOO_LARGE.
    """
    raw = await request.body()
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        problems: list[Any] = [
            {**problem, "loc": ("body", *problem["loc"])}
            for problem in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        raise RequestValidationError(problems) from None


def described(model: type[RequestBody]) -> dict[str, Any]:
    """`openapi_extra` of a route that reads `model` by `read_body`."""
    schema = model.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
