"""Group commit: everything that waits becomes durable together, off the event loop."""

import asyncio
import queue
import threading
from collections.abc import Callable, Mapping, Sequence

from millrace_ports.errors import ClosedError, InvalidRecordError, PortError, StorageUnavailableError
from millrace_ports.journal.writer import Appended, JournalWriter

_MAX_GROUP_BYTES = 8 * 1024 * 1024

_Append = tuple[Sequence[bytes], "asyncio.Future[tuple[Appended, int]]", Mapping[int, str] | None]
_Probe = tuple[None, "asyncio.Future[None]"]


class GroupCommitter:
    """Appends for the tasks of one event loop, in the order in which they ask.

    A thread of its own takes all that waits, up to 8 MiB, appends it as one group (one lock, write and sync)
    and answers the whole group with one call into the loop.
    """

    def __init__(self, writer: JournalWriter, *, name: str = "journal") -> None:
        self._writer = writer
        self._name = name
        self._queue: queue.SimpleQueue[_Append | _Probe | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._error: str | None = None
        self._traced = False  # whether any line ever had a trace context

    @property
    def error(self) -> str | None:
        """Why the last append or probe failed; None when it worked or none was made."""
        return self._error

    async def append(self, line: bytes) -> tuple[Appended, int]:
        """Return where `line` is durable: its group and its own line number.

        Raises StorageUnavailableError (send it again), InvalidRecordError, ClosedError.
        """
        return await self._submit((line,))

    async def append_all(
        self, lines: Sequence[bytes], traceparents: Mapping[int, str] | None = None
    ) -> tuple[Appended, int]:
        """As `append` for several lines that stay together; the number is that of the first one.

        `traceparents`: as `JournalWriter.append`.
        """
        return await self._submit(lines, traceparents)

    async def probe(self) -> None:
        """Check that an append would succeed. Raises StorageUnavailableError with the cause."""
        loop = self._start()
        answer: asyncio.Future[None] = loop.create_future()
        self._queue.put((None, answer))
        await answer

    async def close(self) -> None:
        """Write what waits, end the thread and close the files. Appends after this raise ClosedError."""
        self._closed = True
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
        self._writer.close()

    def _submit(
        self, lines: Sequence[bytes], traceparents: Mapping[int, str] | None = None
    ) -> "asyncio.Future[tuple[Appended, int]]":
        answer: asyncio.Future[tuple[Appended, int]] = self._start().create_future()
        if traceparents:
            self._traced = True
        self._queue.put((lines, answer, traceparents))
        return answer

    def _start(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            raise ClosedError(f"{self._name} is closed")
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        return self._loop

    def _work(self) -> None:
        while True:
            group: list[_Append] = []
            last = _collect(self._queue, group)
            if group:
                self._commit(group)
            if last is None:
                return
            if last[0] is None:
                self._try_out(last[1])

    def _commit(self, group: list[_Append]) -> None:
        lines = [line for asked, _, _ in group for line in asked]
        try:
            appended = self._writer.append(lines, _traceparents(group) if self._traced else None)
        except InvalidRecordError:
            self._commit_alone(group)
        except Exception as error:
            # Whatever it was, those who wait must hear of it: an answer that never comes is worse.
            failure = _as_port_error(error)
            self._error = str(failure)
            self._answer(_fail, group, failure)
        else:
            self._error = None
            self._answer(_succeed, group, appended)

    def _commit_alone(self, group: list[_Append]) -> None:
        """One caller's bad line must not fail the others of its group."""
        for alone in group:
            lines, _, traceparents = alone
            try:
                appended = self._writer.append(lines, traceparents)
            except PortError as error:
                self._answer(_fail, [alone], error)
            else:
                self._answer(_succeed, [alone], appended)

    def _try_out(self, answer: "asyncio.Future[None]") -> None:
        try:
            self._writer.probe()
        except Exception as error:
            failure = _as_port_error(error)
            self._error = str(failure)
            self._answer(_refuse, answer, failure)
        else:
            self._error = None
            self._answer(_confirm, answer)

    def _answer(self, reply: Callable[..., None], *arguments: object) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(reply, *arguments)


def _collect(
    waiting: "queue.SimpleQueue[_Append | _Probe | None]", group: list[_Append]
) -> _Append | _Probe | None:
    """Move what waits into `group`, and return what ended it: a probe, None (close), or the last append."""
    item = waiting.get()
    size = 0
    while item is not None and item[0] is not None:
        group.append(item)
        size += sum(map(len, item[0]))
        if size >= _MAX_GROUP_BYTES:
            return item
        try:
            item = waiting.get_nowait()
        except queue.Empty:
            return item
    return item


def _traceparents(group: list[_Append]) -> dict[int, str]:
    """The contexts of a group's lines, by their index in it."""
    found: dict[int, str] = {}
    before = 0
    for lines, _, traceparents in group:
        if traceparents:
            found |= {before + index: traceparent for index, traceparent in traceparents.items()}
        before += len(lines)
    return found


def _as_port_error(error: Exception) -> PortError:
    return (
        error if isinstance(error, PortError) else StorageUnavailableError(f"{type(error).__name__}: {error}")
    )


def _succeed(group: list[_Append], appended: Appended) -> None:
    line = appended.first_line
    for asked, answer, _ in group:
        if not answer.done():
            answer.set_result((appended, line))
        line += len(asked)


def _fail(group: list[_Append], error: PortError) -> None:
    for _, answer, _ in group:
        if not answer.done():
            answer.set_exception(error)


def _confirm(answer: "asyncio.Future[None]") -> None:
    if not answer.done():
        answer.set_result(None)


def _refuse(answer: "asyncio.Future[None]", error: PortError) -> None:
    if not answer.done():
        answer.set_exception(error)
