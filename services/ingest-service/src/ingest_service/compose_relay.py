"""Putting the relay together, and what sends lines again."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pathlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from prometheus_client import CollectorRegistry

from ingest_service.objects import Objects
from ingest_service.relay.metrics import RELAY_METRICS
from ingest_service.relay.observe import RelayObserver
from ingest_service.relay.persist import Persistence
from ingest_service.relay.positions import RelayPositions
from ingest_service.relay.publish import TOPIC, Publisher
from ingest_service.relay.relay import GROUP, Relay
from ingest_service.relay.replay import Replay
from ingest_service.relay.settings import RelaySettings, RelayTarget
from ingest_service.relay.watch import watch_landing
from millrace_ports.bus import ServerBus
from millrace_ports.bus.embedded import EmbeddedBus, former_roots
from millrace_ports.journal import JournalRoot
from millrace_runtime.clock import SYSTEM_CLOCK, Clock
from millrace_runtime.settings import SettingsError
from millrace_runtime.tracing import tracer


@asynccontextmanager
async def compose_relay(
    settings: RelaySettings,
    *,
    registry: CollectorRegistry,
    clock: Clock = SYSTEM_CLOCK,
    bus: ServerBus | None = None,
) -> AsyncIterator[Relay]:
    """Relay in the background until the block is left.

    Its metrics go to `registry`; `Relay.check` is its readiness. `bus` is another target than the one of
    MILLRACE_BUS, and stays open.
    Raises SettingsError: a setting names no backend, or another relay serves the same journals.
    """
    target = bus or _opened(settings, clock)
    objects = Objects(settings.objects)
    directory = settings.data / "metadata" / "relay"
    journal = EmbeddedBus(settings.data, now_ms=clock.now_ms)
    observer = RelayObserver(RELAY_METRICS.build(registry))
    stop = asyncio.Event()
    persistence = Persistence(clock, stop, observer.failed)
    positions = RelayPositions(directory, now_ms=clock.now_ms)
    spans = tracer("ingest-service")
    with _alone(directory):
        relay = Relay(
            journal.consumer(TOPIC, GROUP, positions, traced=spans is not None),
            Publisher(
                target, objects, persistence, observer, max_value_bytes=settings.relay_max_record_bytes
            ),
            positions,
            persistence,
            observer,
            clock=clock,
            max_records=settings.relay_max_records,
            max_bytes=settings.relay_max_bytes,
            tracer=spans,
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(relay.run(stop))
                watching = tasks.create_task(watch_landing(target, observer))
                try:
                    yield relay
                finally:
                    stop.set()
                    watching.cancel()
        finally:
            await journal.close()
            if bus is None:
                await target.close()


@asynccontextmanager
async def compose_replay(
    settings: RelayTarget,
    *,
    stop: asyncio.Event,
    door: str | None = None,
    clock: Clock = SYSTEM_CLOCK,
    bus: ServerBus | None = None,
) -> AsyncIterator[Replay]:
    """What sends lines again, those of a former `door` if one is named; `stop` ends it between two attempts.

    `bus` as in `compose_relay`. Raises SettingsError: a setting names no backend, or there are no such journals.
    """
    root = _root_of(settings.data, door)
    target = bus or _opened(settings, clock)
    observer = RelayObserver(RELAY_METRICS.build(CollectorRegistry()))
    persistence = Persistence(clock, stop, observer.failed)
    try:
        yield Replay(
            root,
            RelayPositions(settings.data / "metadata" / "relay", now_ms=clock.now_ms),
            Publisher(
                target,
                Objects(settings.objects),
                persistence,
                observer,
                max_value_bytes=settings.relay_max_record_bytes,
            ),
            now_ms=clock.now_ms,
            max_records=settings.relay_max_records,
            max_bytes=settings.relay_max_bytes,
        )
    finally:
        if bus is None:
            await target.close()


def _root_of(data: pathlib.Path, door: str | None) -> JournalRoot:
    root = JournalRoot(data / "messages" / "raw")
    if door is None and not root.path.is_dir():
        raise SettingsError(f"MILLRACE_DATA: there are no journals in {root.path}")
    roots = [root] if root.path.is_dir() else []
    for found in [*roots, *former_roots(data)]:
        if door in (None, found.door):
            return found
    raise SettingsError(f"--door: there are no journals of {door} below {data}, which MILLRACE_DATA names")


def _opened(settings: RelayTarget, clock: Clock) -> ServerBus:
    bus = settings.open_bus(now_ms=clock.now_ms)
    assert isinstance(bus, ServerBus)  # the settings allow no other
    return bus


@contextmanager
def _alone(directory: pathlib.Path) -> Iterator[None]:
    """Hold the place of the one relay of these journals; the kernel frees it however the process ends.

    Two would do no harm but send everything twice. Raises SettingsError.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise SettingsError(f"MILLRACE_DATA: cannot write {error.filename}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise SettingsError(f"MILLRACE_DATA: another relay serves the journals of {directory}") from None
    try:
        yield
    finally:
        os.close(lock)
