"""Replaying dead letters at a door that is told where the lake is: by gRPC, and by HTTP beside the webhook.

`POST /api/v1/dead-letters/replay` takes a JSON object of `ids`, or `all`, or `start`, `end`, `error_type`, `reason`,
`door` and `file`; and `body`, a JSON object in place of the one letter's.
"""

from __future__ import annotations  # the stubs' generic classes are not generic at run time

import asyncio
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

import grpc
import msgspec

from ingest_service.accept.door import Door, Exchange, Scope
from ingest_service.accept.request_ids import RequestIds
from ingest_service.errors import BadArgumentError, BadDataError, NotFoundError, StorageError
from ingest_service.letters.choice import choice
from ingest_service.letters.letter import Selection
from ingest_service.letters.replay import Replayed, replay
from millrace.ingest.v1 import dead_letters_pb2 as pb
from millrace.ingest.v1 import dead_letters_pb2_grpc
from millrace_runtime.auth import Verifier, principal_from_metadata
from millrace_runtime.clock import Clock
from millrace_runtime.errors import ErrorCode, ServiceError, error_body
from millrace_runtime.logs import get_logger

log = get_logger(__name__)

REPLAYS_SERVICE_NAME: Final = pb.DESCRIPTOR.services_by_name["DeadLetterReplayService"].full_name
PATH: Final = "/api/v1/dead-letters/replay"
_SCOPE: Final = "lake:publish"
_MOST_BYTES: Final = 64 << 20
_JSON: Final = [("content-type", "application/json")]


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """The body of the HTTP request."""

    ids: list[str] = []
    all: bool = False
    start: str = ""
    end: str = ""
    error_type: list[str] = []
    reason: list[str] = []
    door: list[str] = []
    file: list[str] = []
    body: msgspec.Raw = msgspec.Raw(b"")


_asked: Final = msgspec.json.Decoder(Asked).decode


class Replayer:
    """Replays in a thread, one request at a time: receiving goes on meanwhile (LAKE-11)."""

    def __init__(self, lake: Path, raw: Path) -> None:
        self._lake, self._raw = lake, raw
        self._one = asyncio.Lock()

    async def replay(self, wanted: Selection, body: bytes | None) -> Replayed:
        """Raises ServiceError."""
        async with self._one:
            try:
                return await asyncio.to_thread(partial(replay, wanted, self._lake, self._raw, body=body))
            except NotFoundError as error:
                raise ServiceError(ErrorCode.NOT_FOUND, "no dead letter is meant by that") from error
            except (BadArgumentError, BadDataError) as error:
                raise ServiceError(ErrorCode.INVALID_REQUEST, error.reason) from error
            except StorageError as error:
                log.warning("letters_not_replayed", cause=error.reason)
                raise ServiceError(
                    ErrorCode.UNAVAILABLE, "the lake cannot be written now: ask again"
                ) from error


def _chosen(**given: Any) -> Selection:
    try:
        return choice(**given)
    except BadArgumentError as error:
        raise ServiceError(ErrorCode.INVALID_REQUEST, error.reason) from None


class ReplayServicer(dead_letters_pb2_grpc.DeadLetterReplayServiceServicer):
    """`millrace.ingest.v1.DeadLetterReplayService`, for keys of scope `lake:publish`."""

    def __init__(self, replayer: Replayer, verifier: Verifier) -> None:
        self._replayer = replayer
        self._verifier = verifier

    async def ReplayDeadLetters(  # noqa: N802
        self, request: pb.ReplayDeadLettersRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ReplayDeadLettersResponse:
        """What became of the letters."""
        principal = await principal_from_metadata(self._verifier, context)
        principal.require(_SCOPE)
        wanted = _chosen(
            ids=list(request.ids),
            everything=request.all,
            start=request.start_date,
            end=request.end_date,
            error_type=list(request.error_type),
            reason=list(request.reason),
            door=list(request.door),
            file=list(request.file),
        )
        done = await self._replayer.replay(wanted, request.body if request.HasField("body") else None)
        return pb.ReplayDeadLettersResponse(
            selected=done.selected,
            landed=done.landed,
            already_landed=done.already_landed,
            refused=done.refused,
            still_refused=[pb.StillRefused(**asdict(letter)) for letter in done.still_refused],
        )


class ReplayRoute:
    """The door's RSGI application with the route for replays before it."""

    def __init__(self, door: Door, replayer: Replayer, verifier: Verifier, clock: Clock) -> None:
        self._door = door
        self._replayer = replayer
        self._verifier = verifier
        self._clock = clock
        self._ids = RequestIds()

    async def __rsgi__(self, scope: Scope, exchange: Exchange) -> None:
        """Answer one request."""
        if scope.path != PATH:
            await self._door.__rsgi__(scope, exchange)
            return
        try:
            answer = await self._answer(scope, exchange)
        except ServiceError as error:
            self._refuse(exchange, error)
        except Exception:
            log.exception("replay_failed")
            self._refuse(exchange, ServiceError(ErrorCode.INTERNAL, "the replay failed"))
        else:
            exchange.response_bytes(200, _JSON, msgspec.json.encode(answer))

    async def _answer(self, scope: Scope, exchange: Exchange) -> Replayed:
        if scope.method != "POST":
            raise ServiceError(ErrorCode.INVALID_REQUEST, "use POST", http_status=405)
        key = scope.headers.get("x-api-key")
        if not key:
            raise ServiceError(ErrorCode.UNAUTHORIZED, "an API key is required in X-API-Key")
        (await self._verifier.check(key)).require(_SCOPE)
        pieces, size = [], 0
        async for piece in exchange:
            size += len(piece)
            if size > _MOST_BYTES:
                raise ServiceError(
                    ErrorCode.PAYLOAD_TOO_LARGE, f"the body is larger than {_MOST_BYTES} bytes"
                )
            pieces.append(bytes(piece))
        try:
            asked = _asked(b"".join(pieces))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ServiceError(ErrorCode.INVALID_REQUEST, f"the request: {error}") from None
        wanted = _chosen(
            ids=asked.ids,
            everything=asked.all,
            start=asked.start,
            end=asked.end,
            error_type=asked.error_type,
            reason=asked.reason,
            door=asked.door,
            file=asked.file,
        )
        return await self._replayer.replay(wanted, bytes(asked.body) or None)

    def _refuse(self, exchange: Exchange, error: ServiceError) -> None:
        request_id = self._ids.next()
        answer = error_body(error, request_id=request_id, now=self._clock.now())
        headers = [*_JSON, ("x-request-id", request_id)]
        exchange.response_bytes(error.http_status, headers, msgspec.json.encode(answer))
