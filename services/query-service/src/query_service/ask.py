"""The searcher for an event loop: each question runs in a small pool of threads, and is measured.

A stream takes a thread only while its next chunk is made, so a slow client holds none.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import Executor, Future, wait
from contextvars import copy_context
from dataclasses import dataclass
from typing import Generic, TypeVar

import pyarrow as pa

from millrace_runtime.tracing import Span, current
from query_service.metrics import QueryMetrics
from query_service.search.contact_request import ContactSearch
from query_service.search.contacts import ContactSearcher
from query_service.search.letter_request import LetterSearch
from query_service.search.letters import LetterSearcher
from query_service.search.read import Answer
from query_service.search.request import Filter, Lookup, Search
from query_service.search.run import Searcher

T = TypeVar("T")
Batches = Iterator[pa.RecordBatch]
_ORIGIN = "{src_door}/{src_file}/{src_line}/{src_element}"
_ORIGIN_COLUMNS = frozenset(("src_door", "src_file", "src_line", "src_element"))
Encode = Callable[[pa.Schema, Batches], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """An answer whose rows have been turned into `items`; the rest as in `Answer`."""

    total: int
    items: T
    warnings: tuple[str, ...]
    files_opened: int


class Asker:
    """Asks a `Searcher` in the threads of `pool`, which the caller owns."""

    def __init__(
        self,
        searcher: Searcher,
        contacts: ContactSearcher,
        letters: LetterSearcher,
        pool: Executor,
        metrics: QueryMetrics,
    ) -> None:
        self._searcher = searcher
        self._contacts = contacts
        self._letters = letters
        self._pool = pool
        self._metrics = metrics

    async def page(self, search: Search, render: Callable[[Batches], T]) -> Found[T]:
        """The rows of a search, rendered whole."""
        return await self._whole("search", lambda: self._searcher.search(search), render)

    async def lookup(self, lookup: Lookup, render: Callable[[Batches], T]) -> Found[T]:
        """The rows of these msg_ids, rendered whole."""
        request = current.get()
        if request is None:
            return await self._whole("lookup", lambda: self._searcher.lookup(lookup), render)

        def telling(batches: Batches) -> T:
            return render(_telling_origin(request, batches))

        return await self._whole("lookup", lambda: self._searcher.lookup(lookup), telling)

    async def count(self, condition: Filter) -> Found[None]:
        """How many rows match."""
        return await self._whole("count", lambda: self._searcher.count(condition), lambda _: None)

    async def contacts(self, search: ContactSearch, render: Callable[[Batches], T]) -> Found[T]:
        """The contacts of a search, rendered whole."""
        return await self._whole("contacts", lambda: self._contacts.search(search), render)

    async def letters(self, search: LetterSearch, render: Callable[[Batches], T]) -> Found[T]:
        """The dead letters of a search, rendered whole."""
        return await self._whole("dead_letters", lambda: self._letters.search(search), render)

    async def stream(self, search: Search | ContactSearch, encode: Encode) -> Found[AsyncGenerator[bytes]]:
        """The rows of a search as encoded chunks, each made when it is asked for.

        Returns when the first rows are there: whatever can be refused is refused before.
        """

        def ask() -> Answer:
            if isinstance(search, ContactSearch):
                return self._contacts.search(search)
            return self._searcher.search(search)

        def begin() -> Found[Generator[bytes]]:
            answer = self._measured("stream", ask)
            chunks = _as_generator(encode(answer.schema, self._counted("stream", answer.batches)))
            return Found(answer.total, chunks, answer.warnings, answer.files_opened)

        found = await self._in_thread(begin)
        return Found(found.total, self._chunks(found.items), found.warnings, found.files_opened)

    async def _whole(
        self, operation: str, ask: Callable[[], Answer], render: Callable[[Batches], T]
    ) -> Found[T]:
        def work() -> Found[T]:
            answer = self._measured(operation, ask)
            items = render(self._counted(operation, answer.batches))
            return Found(answer.total, items, answer.warnings, answer.files_opened)

        return await self._in_thread(work)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self._pool.submit(copy_context().run, work))

    async def _chunks(self, chunks: Generator[bytes]) -> AsyncGenerator[bytes]:
        pending: Future[bytes | None] | None = None
        try:
            while True:
                pending = self._pool.submit(copy_context().run, _next_of, chunks)
                chunk = await asyncio.wrap_future(pending)
                if chunk is None:
                    return
                yield chunk
        finally:
            # The client may go while a thread is inside the generator: only after it has come out can
            # the generator be closed, and with it the query.
            self._pool.submit(_close_after, pending, chunks)

    def _measured(self, operation: str, ask: Callable[[], Answer]) -> Answer:
        started = time.perf_counter()
        request = current.get()
        try:
            answer = ask() if request is None else _traced(request, operation, ask)
        except Exception:
            self._metrics.failures.labels(operation).inc()
            raise
        self._metrics.seconds.labels(operation).observe(time.perf_counter() - started)
        self._metrics.files_opened.labels(operation).inc(answer.files_opened)
        self._metrics.files_left_out.inc(len(answer.warnings))
        return answer

    def _counted(self, operation: str, batches: Batches) -> Batches:
        rows = self._metrics.rows.labels(operation)
        for batch in batches:
            rows.inc(batch.num_rows)
            yield batch


def _traced(request: Span, operation: str, ask: Callable[[], Answer]) -> Answer:
    """Ask in a span of its own."""
    with request.child(f"lake {operation}", "internal") as span:
        answer = ask()
        span.set("millrace.rows", answer.total)
        span.set("millrace.files_opened", answer.files_opened)
        return answer


def _telling_origin(request: Span, batches: Batches) -> Batches:
    """The rows; a single one is named in the span as the spans of its way into the lake name it, by its src_ columns
    where they were asked for."""
    rows, origin = 0, ""
    for batch in batches:
        rows += batch.num_rows
        if batch.num_rows == 1 and set(batch.schema.names) >= _ORIGIN_COLUMNS:
            row = {name: batch.column(name)[0].as_py() for name in _ORIGIN_COLUMNS}
            origin = _ORIGIN.format_map(row).replace(".jsonl/", "/")
        yield batch
    if rows == 1 and origin:
        request.set("millrace.origin", origin)


def _as_generator(chunks: Iterator[bytes]) -> Generator[bytes]:
    yield from chunks


def _next_of(chunks: Generator[bytes]) -> bytes | None:
    return next(chunks, None)


def _close_after(pending: "Future[bytes | None] | None", chunks: Generator[bytes]) -> None:
    if pending is not None:
        wait([pending])
    chunks.close()
