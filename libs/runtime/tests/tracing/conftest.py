"""A receiver, and the exporter of this process sending to it."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager

import pytest

from millrace_runtime.logs import configure_logging
from millrace_testkit.otlp import OtlpReceiver

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{CALLER}-01"
UNSAMPLED = f"00-{TRACE}-{CALLER}-00"

Exporting = Callable[..., AbstractAsyncContextManager[None]]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    configure_logging("test")  # without it a traceback is drawn, which takes seconds
    for name in list(os.environ):
        if name.startswith(("MILLRACE_", "OTEL_")):
            monkeypatch.delenv(name)


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch, receiver: OtlpReceiver) -> Exporting:
    """`async with exports(TRACE_SAMPLE_RATIO=0.5):`: settings by name, nothing sampled unasked by default."""
    monkeypatch.setattr("millrace_runtime.tracing.outbox._SPANS_EVERY_S", 0.05)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")

    return receiver.exporting
