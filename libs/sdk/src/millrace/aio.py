"""The asynchronous client."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar, Unpack

import grpc

from idgen.v1 import idgen_pb2, idgen_pb2_grpc
from millrace import messages, publishing
from millrace.channel import metadata_for, open_async_channel, translated
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


class AsyncClient:
    """`millrace.Client` for asyncio: the same calls, arguments and errors, awaited.

    Belongs to the event loop that runs when it is made.
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
        self._channels = {name: open_async_channel(self.installation, name) for name in services}
        self._ingest = ingest_pb2_grpc.IngestServiceStub(self._channels["ingest-service"])
        self._query = query_pb2_grpc.QueryServiceStub(self._channels["query-service"])
        self._sql = sql_pb2_grpc.SqlServiceStub(self._channels["query-service"])
        self._id = idgen_pb2_grpc.IdServiceStub(self._channels["id-service"])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connections; calls in progress fail."""
        for channel in self._channels.values():
            await channel.close(None)

    async def publish(self, payloads: Iterable[Payload]) -> list[Outcome]:
        """As `Client.publish`."""
        return [outcome async for batch in self.publish_batches(payloads) for outcome in batch]

    async def publish_batches(self, payloads: Iterable[Payload]) -> AsyncIterator[list[Outcome]]:
        """As `Client.publish_batches`."""
        for request in publishing.requests(payloads):
            yield publishing.outcomes(await self._call("ingest-service", self._ingest.Publish, request))

    async def search(
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
        """As `Client.search`."""
        chosen = messages.message_filter(start, end, **filters)
        request = messages.search_request(chosen, columns, limit, offset, unmask)
        return Page.of(await self._call("query-service", self._query.Search, request))

    async def search_arrow(
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
        """As `Client.search_arrow`."""
        from millrace.arrow import read_table

        chosen = messages.message_filter(start, end, **filters)
        request = messages.arrow_request(chosen, columns, limit, offset, unmask)
        metadata = metadata_for(self.installation)
        call = self._query.SearchArrow(request, timeout=self.timeout_s, metadata=metadata)
        try:
            return read_table([answer.ipc async for answer in call])
        except grpc.RpcError as error:
            raise translated(error, self.installation.grpc_address("query-service"), metadata) from error

    async def get(
        self, msg_ids: Sequence[str], *, columns: Sequence[str] = (), unmask: bool = False
    ) -> list[Message]:
        """As `Client.get`."""
        request = query_pb2.GetByIdsRequest(msg_ids=msg_ids, columns=columns, unmask=unmask)
        answer = await self._call("query-service", self._query.GetByIds, request)
        return [Message.of(row) for row in answer.items]

    async def count(self, start: Day, end: Day, **filters: Unpack[Filters]) -> int:
        """As `Client.count`."""
        request = query_pb2.CountRequest(filter=messages.message_filter(start, end, **filters))
        return (await self._call("query-service", self._query.Count, request)).total

    async def sql(self, text: str, *, limit: int | None = None, unmask: bool = False) -> SqlResult:
        """As `Client.sql`."""
        return SqlResult.of((await self._sql_body(sql_request(text, limit, unmask, JSON))).body)

    async def sql_csv(self, text: str, *, limit: int | None = None, unmask: bool = False) -> SqlText:
        """As `Client.sql_csv`."""
        return await self._sql_body(sql_request(text, limit, unmask, CSV))

    async def sql_arrow(self, text: str, *, limit: int | None = None, unmask: bool = False) -> "pa.Table":
        """As `Client.sql_arrow`."""
        from millrace.arrow import read_table

        return read_table([(await self._sql_body(sql_request(text, limit, unmask, ARROW))).body])

    async def _sql_body(self, request: sql_pb2.SqlRequest) -> SqlText:
        metadata = metadata_for(self.installation)
        call = self._sql.Sql(request, timeout=self.timeout_s, metadata=metadata)
        try:
            body = b"".join([answer.chunk async for answer in call])
            return SqlText.of(body, await call.trailing_metadata() or ())
        except grpc.RpcError as error:
            raise translated(error, self.installation.grpc_address("query-service"), metadata) from error

    async def generate(
        self, biz_tag: str, *, group: str = "default", workspace: str = "", algorithm: str = ""
    ) -> Id:
        """As `Client.generate`."""
        request = idgen_pb2.GenerateRequest(
            workspace=workspace or self.installation.workspace(),
            group=group,
            biz_tag=biz_tag,
            algorithm=algorithm,
        )
        return Id.of(await self._call("id-service", self._id.Generate, request))

    async def batch(
        self, biz_tag: str, size: int, *, group: str = "default", workspace: str = "", algorithm: str = ""
    ) -> list[str]:
        """As `Client.batch`."""
        request = idgen_pb2.BatchGenerateRequest(
            workspace=workspace or self.installation.workspace(),
            group=group,
            biz_tag=biz_tag,
            size=size,
            algorithm=algorithm,
        )
        return list((await self._call("id-service", self._id.BatchGenerate, request)).ids)

    async def parse(
        self,
        id_text: str,
        *,
        biz_tag: str = "",
        group: str = "default",
        workspace: str = "",
        algorithm: str = "",
    ) -> ParsedId:
        """As `Client.parse`."""
        request = parse_request(
            id_text,
            self.installation,
            biz_tag=biz_tag,
            group=group,
            workspace=workspace,
            algorithm=algorithm,
        )
        return ParsedId.of(await self._call("id-service", self._id.Parse, request))

    async def _call(
        self, service: ServiceName, method: Callable[..., Awaitable[Response]], request: object
    ) -> Response:
        metadata = metadata_for(self.installation)
        try:
            return await method(request, timeout=self.timeout_s, metadata=metadata)
        except grpc.RpcError as error:
            raise translated(error, self.installation.grpc_address(service), metadata) from error
