"""From a question in SQL to its answer: a worker looks at it, its views are made, the worker runs it.

Everything here blocks; `SqlAsker` runs it in threads.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import copy_context
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.logs import get_logger
from millrace_runtime.tracing import current
from query_service.metrics import QueryMetrics
from query_service.search.request import refusal
from query_service.sql.protocol import Answer, Ask, Failed, Fault, Given, Wants
from query_service.sql.question import Limits, Question
from query_service.sql.running import first_line
from query_service.sql.views import Shown, Views
from query_service.sql.workers import Worker, WorkerGoneError, Workers, WorkerStartError

log = get_logger(__name__)
T = TypeVar("T")

_ATTEMPTS = 20
_WEARING = (Fault.TIME, Fault.MEMORY, Fault.SIZE)
_GRACE_S = 2.0
"""After its time limit a worker ends the question itself; so long after it, the worker is ended."""


@dataclass(frozen=True, slots=True)
class SqlAnswer:
    """`stream` is one Arrow IPC stream of `rows` rows, `types` the SQL types of its columns. `truncated`: there are
    more rows than were asked for. `warnings` names files whose rows are missing (LAKE-90)."""

    stream: bytes
    types: tuple[str, ...]
    rows: int
    truncated: bool
    elapsed_ms: int
    warnings: tuple[str, ...]
    files: int


class SqlEngine:
    """Answers questions. Thread-safe; owns neither the views' readers nor the workers. `places`: directories that no
    message of an error may name."""

    def __init__(self, views: Views, workers: Workers, limits: Limits, places: tuple[str, ...]) -> None:
        self.limits = limits
        self._views = views
        self._workers = workers
        self._places = places

    def answer(self, question: Question) -> SqlAnswer:
        """The answer. Raises `ServiceError`: INVALID_REQUEST for a statement that is not allowed or not right,
        PAYLOAD_TOO_LARGE for one that takes too much time, memory or bytes."""
        started = time.perf_counter()
        try:
            worker = self._workers.take()
        except (WorkerStartError, OSError) as error:
            log.exception("sql_worker_does_not_start")
            raise ServiceError(ErrorCode.UNAVAILABLE, "the SQL engine cannot be started now") from error
        try:
            return self._answered(question, worker, started)
        except WorkerGoneError as error:
            log.warning("sql_worker_gone", late=error.late)
            # Nothing but its question makes a worker end: more memory than it may have, or a fault of the engine.
            self._fail(Failed(Fault.TIME if error.late else Fault.MEMORY, ""))
        finally:
            self._workers.give_back(worker)

    def _answered(self, question: Question, worker: Worker, started: float) -> SqlAnswer:
        worker.send(Ask(question.text))
        wants = worker.receive(self.limits.time_s + _GRACE_S)
        if not isinstance(wants, Wants):
            assert isinstance(wants, Failed)
            self._fail(wants)
        for _ in range(_ATTEMPTS):
            shown = {
                name: self._views.shown(name, wants.when, unmask=question.unmask) for name in wants.views
            }
            worker.send(self._given(question, shown))
            answer = worker.receive(self.limits.time_s + _GRACE_S)
            if isinstance(answer, Answer):
                stream = worker.receive_bytes(self.limits.time_s + _GRACE_S)
                return SqlAnswer(
                    stream,
                    answer.types,
                    answer.rows,
                    answer.truncated,
                    round((time.perf_counter() - started) * 1000),
                    tuple(warning for view in shown.values() for warning in view.warnings),
                    sum(len(view.files) for view in shown.values()),
                )
            assert isinstance(answer, Failed)
            if answer.fault is not Fault.FILES or not self._views.learnt(shown, answer.message):
                if answer.fault in _WEARING or "INTERNAL Error" in answer.message:
                    worker.end()  # it may have no memory left for the next, or an engine that does not go on
                self._fail(answer)
        raise ServiceError(ErrorCode.UNAVAILABLE, "the lake's files change too fast to be read now")

    def _given(self, question: Question, shown: dict[str, Shown]) -> Given:
        return Given(
            {name: view.select for name, view in shown.items()},
            question.rows,
            self.limits.answer_bytes,
            self.limits.time_s,
        )

    def _fail(self, failed: Failed) -> NoReturn:
        if failed.fault in (Fault.REFUSED, Fault.FILES):
            raise refusal("sql", first_line(failed.message, self._places))
        reason = {
            Fault.TIME: f"took longer than {self.limits.time_s:g} s: ask for fewer days, columns or rows",
            Fault.MEMORY: "needs more memory than a question may use: ask for less at a time",
            Fault.SIZE: f"the answer is larger than {self.limits.answer_bytes >> 20} MB: ask for fewer rows or columns",
        }[failed.fault]
        raise ServiceError(
            ErrorCode.PAYLOAD_TOO_LARGE,
            f"sql: {reason}",
            details={"parameter": "sql", "limit": failed.fault.value},
        )


class SqlAsker:
    """The engine for an event loop: each question in a thread of `pool`, which the caller owns, and measured."""

    def __init__(self, engine: SqlEngine, pool: Executor, metrics: QueryMetrics) -> None:
        self.limits = engine.limits
        self.engine = engine
        self._pool = pool
        self._metrics = metrics

    async def ask(self, question: Question, render: Callable[[SqlAnswer], T]) -> tuple[SqlAnswer, T]:
        """The answer, and what `render` makes of it."""

        def work() -> tuple[SqlAnswer, T]:
            answer = self._measured(question)
            return answer, render(answer)

        return await asyncio.wrap_future(self._pool.submit(copy_context().run, work))

    def _measured(self, question: Question) -> SqlAnswer:
        started = time.perf_counter()
        request = current.get()
        try:
            if request is None:
                answer = self.engine.answer(question)
            else:
                with request.child("lake sql", "internal") as span:
                    answer = self.engine.answer(question)
                    span.set("millrace.rows", answer.rows)
                    span.set("millrace.files_opened", answer.files)
        except Exception:
            self._metrics.failures.labels("sql").inc()
            raise
        self._metrics.seconds.labels("sql").observe(time.perf_counter() - started)
        self._metrics.rows.labels("sql").inc(answer.rows)
        self._metrics.files_opened.labels("sql").inc(answer.files)
        self._metrics.files_left_out.inc(len(answer.warnings))
        return answer
