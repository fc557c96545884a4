"""An installation's journals, filled once through a real door, to be landed under faults again and again."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from millrace_testkit.acknowledged import lost, lost_messages
from millrace_testkit.builders import traffic
from millrace_testkit.load import OK, post_all
from millrace_testkit.model import compare
from millrace_testkit.stack import Stack

SMALL_BATCHES = {"LAND_MAX_ROWS": "60", "LAND_INTERVAL_S": "0"}
"""So that a few hundred lines take several commits."""


@dataclass(frozen=True)
class Accepted:
    """Journals below `data`, and the bodies that were answered 200, in the order of sending."""

    data: Path
    bodies: list[bytes]


@pytest.fixture(scope="session")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Accepted:
    """500 bodies of all kinds, posted to a real door; nothing is landed yet."""
    bodies = list(itertools.islice(traffic(1), 500))
    with Stack.embedded(tmp_path_factory.mktemp("accepted")) as stack:
        door = stack.door().wait_ready()
        assert asyncio.run(post_all(door.endpoint.http_port, bodies)) == [OK] * len(bodies)
        door.stop()
        return Accepted(stack.data, bodies)


@pytest.fixture(scope="session")
def landed(tmp_path_factory: pytest.TempPathFactory, accepted: Accepted) -> Path:
    """The data directory of `accepted` with everything landed, in many small files."""
    with Stack.embedded(tmp_path_factory.mktemp("landed")) as stack:
        shutil.copytree(accepted.data, stack.data, dirs_exist_ok=True)
        writer = stack.lake_writer(**SMALL_BATCHES).wait_ready()
        stack.wait_landed()
        writer.stop()
        return stack.data


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """An empty installation, no process running."""
    with Stack.embedded(tmp_path / "installation") as stack:
        yield stack


@pytest.fixture
def filled(stack: Stack, accepted: Accepted) -> Stack:
    """An installation whose journals are those of `accepted`."""
    shutil.copytree(accepted.data, stack.data, dirs_exist_ok=True)
    return stack


Exact = Callable[..., None]


@pytest.fixture
def assert_exact() -> Exact:
    """Compare lake and model row by row, and look for each acknowledged body in the journals."""

    def check(data: Path, acknowledged: Iterable[bytes] = (), *, today: str | None = None) -> None:
        assert compare(data, today=today) == []
        bodies = list(acknowledged)
        assert not lost(data, bodies)
        assert not lost_messages(data, bodies)

    return check
