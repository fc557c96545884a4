"""Structured logs: one JSON object a line, static event names, the request id, no message content."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

request_id: ContextVar[str] = ContextVar("millrace_request_id", default="")
"""Id of the request being served; empty outside of one. Bound by the HTTP and gRPC edges."""

_QUIET = ("asyncio", "grpc", "httpx", "httpcore", "aiosqlite", "alembic")
"""Libraries whose INFO lines are about themselves."""

_SILENT = ("aiokafka",)
"""Libraries that say the same twenty times a second while a server is away; who needs it says so itself."""


def configure_logging(
    service: str, level: str = "INFO", stream: TextIO | None = None, json: bool = True
) -> None:
    """Send every log line of the process, our own and the libraries', to `stream` (default stderr).

    `service` becomes a field of each line. `json=False` gives aligned text for people. Calling it
    again replaces the former configuration.
    """
    out = stream or sys.stderr
    threshold = logging.getLevelNamesMapping()[level.upper()]

    def name_service(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_service,
        _name_request,
    ]
    renderer: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if json
        else [
            structlog.dev.ConsoleRenderer(
                colors=out.isatty(),
                # The default one prints local variables: payloads and keys.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    )
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        # Loggers are made at import; a cached one would keep the stream of an earlier configuration.
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _name_module],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=threshold, force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))
    for name in _SILENT:
        logging.getLogger(name).setLevel(threshold if threshold <= logging.DEBUG else logging.CRITICAL)


@contextmanager
def logging_during(service: str, level: str) -> Iterator[None]:
    """`configure_logging` for a command that is a part of a process: the former configuration comes back at the end."""
    root = logging.getLogger()
    former, handlers, threshold = structlog.get_config(), list(root.handlers), root.level
    configure_logging(service, level)
    try:
        yield
    finally:
        structlog.configure(**former)
        root.handlers[:] = handlers
        root.setLevel(threshold)


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose lines carry `module=name`. Safe to call at import, before any configuration."""
    return cast("FilteringBoundLogger", structlog.get_logger(module=name))


def _name_request(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    current = request_id.get()
    if current:
        event.setdefault("request_id", current)
    return event


def _name_module(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    record: logging.LogRecord = event["_record"]
    event["module"] = record.name
    return event
