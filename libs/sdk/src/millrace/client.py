"""The synchronous client."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar, Unpack

import grpc

from idgen.v1 import idgen_pb2, idgen_pb2_grpc
from millrace import messages, publishing
from millrace.channel import metadata_for, open_channel, translated
from millrace.ids import Id, ParsedId, parse_request
from millrace.ingest.v1 import ingest_pb2_grpc
from millrace.installation import Installation, ServiceName, find_installation
from millrace.messages import Day, Filters, Message, Page
from millrace.publishing import Outcome, Payload
from millrace.query.v1 import query_pb2, query_pb2_grpc, sql_pb2, sql_pb2_grpc
from millrace.sql import ARROW, CSV, JSON, SqlResult, SqlText, sql_request

if TYPE_CHECKING:
    import pyarrow as pa

Response = TypeVar("Response")


class Client:
    """Publishes, reads and takes ids, with one connection per service.

    `url` and `api_key` default to MILLRACE_URL and MILLRACE_API_KEY, else to the installation of
    `millrace up` on this machine (see `millrace.installation`). `timeout_s` is the deadline of each
    call in seconds, repeats included. Threads may share a client. All methods raise `MillraceError`s.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        installation: Installation | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self.installation = installation or find_installation(url=url, api_key=api_key)
        self.timeout_s = timeout_s
        services: tuple[ServiceName, ...] = ("ingest-service", "query-service", "id-service")
        self._channels = {name: open_channel(self.installation, name) for name in services}
        self._ingest = ingest_pb2_grpc.IngestServiceStub(self._channels["ingest-service"])
        self._query = query_pb2_grpc.QueryServiceStub(self._channels["query-service"])
        self._sql = sql_pb2_grpc.SqlServiceStub(self._channels["query-service"])
        self._id = idgen_pb2_grpc.IdServiceStub(self._channels["id-service"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connections; calls in progress fail."""
        for channel in self._channels.values():
            channel.close()

    def publish(self, payloads: Iterable[Payload]) -> list[Outcome]:
        """Sends webhook bodies in order; returns when each is on stable storage, one outcome each.

        At least once: when this raises, some payloads may be stored; sending all again is harmless.
        """
        return [outcome for batch in self.publish_batches(payloads) for outcome in batch]

    def publish_batches(self, payloads: Iterable[Payload]) -> Iterator[list[Outcome]]:
        """As `publish`, but yields the outcomes call by call, so that endless input needs no memory."""
        for request in publishing.requests(payloads):
            yield publishing.outcomes(self._call("ingest-service", self._ingest.Publish, request))

    def search(
        self,
        start: Day,
        end: Day,
        *,
        columns: Sequence[str] = (),
        limit: int | None = None,
        offset: int = 0,
        unmask: bool = False,
        **filters: Unpack[Filters],
    ) -> Page:
        """One page of the messages of whole UTC days, both included.

        Without `limit` as many rows as the service gives by default.
        """
        chosen = messages.message_filter(start, end, **filters)
        request = messages.search_request(chosen, columns, limit, offset, unmask)
        return Page.of(self._call("query-service", self._query.Search, request))

    def search_arrow(
        self,
        start: Day,
        end: Day,
        *,
        columns: Sequence[str] = (),
        limit: int | None = None,
        offset: int = 0,
        unmask: bool = False,
        **filters: Unpack[Filters],
    ) -> "pa.Table":
        """All these messages (or `limit` of them) as an Arrow table; needs pyarrow."""
        from millrace.arrow import read_table

        chosen = messages.message_filter(start, end, **filters)
        request = messages.arrow_request(chosen, columns, limit, offset, unmask)
        metadata = metadata_for(self.installation)
        try:
            return read_table(
                answer.ipc
                for answer in self._query.SearchArrow(request, timeout=self.timeout_s, metadata=metadata)
            )
        except grpc.RpcError as error:
            raise translated(error, self.installation.grpc_address("query-service"), metadata) from error

    def get(
        self, msg_ids: Sequence[str], *, columns: Sequence[str] = (), unmask: bool = False
    ) -> list[Message]:
        """The messages of these ids, once each; unknown ids are absent (LAKE-102)."""
        request = query_pb2.GetByIdsRequest(msg_ids=msg_ids, columns=columns, unmask=unmask)
        answer = self._call("query-service", self._query.GetByIds, request)
        return [Message.of(row) for row in answer.items]

    def count(self, start: Day, end: Day, **filters: Unpack[Filters]) -> int:
        """How many messages `search` would find."""
        request = query_pb2.CountRequest(filter=messages.message_filter(start, end, **filters))
        return self._call("query-service", self._query.Count, request).total

    def sql(self, text: str, *, limit: int | None = None, unmask: bool = False) -> SqlResult:
        """The answer to one read-only statement about messages, contacts, other and dead_letters.

        `limit` rows at most, else as many as the service gives by default; clear values with `unmask`.
        """
        return SqlResult.of(self._sql_body(sql_request(text, limit, unmask, JSON)).body)

    def sql_csv(self, text: str, *, limit: int | None = None, unmask: bool = False) -> SqlText:
        """As `sql`, as CSV in UTF-8 with a header line."""
        return self._sql_body(sql_request(text, limit, unmask, CSV))

    def sql_arrow(self, text: str, *, limit: int | None = None, unmask: bool = False) -> "pa.Table":
        """As `sql`, as an Arrow table; needs pyarrow."""
        from millrace.arrow import read_table

        return read_table([self._sql_body(sql_request(text, limit, unmask, ARROW)).body])

    def _sql_body(self, request: sql_pb2.SqlRequest) -> SqlText:
        metadata = metadata_for(self.installation)
        try:
            call = self._sql.Sql(request, timeout=self.timeout_s, metadata=metadata)
            body = b"".join(answer.chunk for answer in call)
            return SqlText.of(body, call.trailing_metadata() or ())
        except grpc.RpcError as error:
            raise translated(error, self.installation.grpc_address("query-service"), metadata) from error

    def generate(
        self, biz_tag: str, *, group: str = "default", workspace: str = "", algorithm: str = ""
    ) -> Id:
        """One id of a tag. `workspace` defaults to the key's, `algorithm` to the tag's."""
        request = idgen_pb2.GenerateRequest(
            workspace=workspace or self.installation.workspace(),
            group=group,
            biz_tag=biz_tag,
            algorithm=algorithm,
        )
        return Id.of(self._call("id-service", self._id.Generate, request))

    def batch(
        self, biz_tag: str, size: int, *, group: str = "default", workspace: str = "", algorithm: str = ""
    ) -> list[str]:
        """Exactly `size` ids of one algorithm (ID-5)."""
        request = idgen_pb2.BatchGenerateRequest(
            workspace=workspace or self.installation.workspace(),
            group=group,
            biz_tag=biz_tag,
            size=size,
            algorithm=algorithm,
        )
        return list(self._call("id-service", self._id.BatchGenerate, request).ids)

    def parse(
        self,
        id_text: str,
        *,
        biz_tag: str = "",
        group: str = "default",
        workspace: str = "",
        algorithm: str = "",
    ) -> ParsedId:
        """What an id says of itself (ID-34); with `biz_tag`, as an id of that tag."""
        request = parse_request(
            id_text,
            self.installation,
            biz_tag=biz_tag,
            group=group,
            workspace=workspace,
            algorithm=algorithm,
        )
        return ParsedId.of(self._call("id-service", self._id.Parse, request))

    def _call(self, service: ServiceName, method: Callable[..., Response], request: object) -> Response:
        metadata = metadata_for(self.installation)
        try:
            return method(request, timeout=self.timeout_s, metadata=metadata)
        except grpc.RpcError as error:
            raise translated(error, self.installation.grpc_address(service), metadata) from error
