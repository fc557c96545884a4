"""A relay with real journals before it, and behind it a bus on disk whose records can be read back."""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from ingest_service.compose_relay import compose_relay
from ingest_service.relay.relay import Relay
from ingest_service.relay.settings import RelaySettings
from millrace_ports.bus import Bus
from millrace_ports.journal import JournalRoot, JournalWriter
from millrace_testkit.clock import ManualClock
from millrace_testkit.recorded import RecordedBus

DAY = "2026-03-05"
NOON_MS = 1_772_712_000_000
"""2026-03-05T12:00:00Z."""


class Door:
    """Appends to the journals as the door does."""

    def __init__(self, data: Path, clock: ManualClock) -> None:
        self.root = JournalRoot(data / "messages" / "raw")
        self._writer = JournalWriter(self.root, now_ms=clock.now_ms)

    def take(self, *bodies: bytes) -> None:
        """One group of lines."""
        self._writer.append(bodies)

    def file(self, day: str = DAY) -> Path:
        return self.root.file(day)

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON_MS)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def door(data: Path, clock: ManualClock) -> Iterator[Door]:
    door = Door(data, clock)
    yield door
    door.close()


@pytest.fixture
def bus(tmp_path: Path) -> RecordedBus:
    return RecordedBus(tmp_path / "bus")


Running = Callable[..., AbstractAsyncContextManager[Relay]]


@pytest.fixture
def running(data: Path, tmp_path: Path, clock: ManualClock) -> Running:
    """Starts a relay from the journals of `door` to a bus; settings by name."""

    def start(bus: Bus, registry: CollectorRegistry | None = None, **settings: Any) -> Any:
        wanted = {"data": data, "bus": "kafka://unused:1", "objects": f"file://{tmp_path / 'objects'}"}
        return compose_relay(
            RelaySettings.load(**(wanted | settings)),
            registry=registry or CollectorRegistry(),
            clock=clock,
            bus=bus,
        )

    return start
