"""The sample of real traffic, and what it must amount to."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from millrace_testkit.builders import not_json
from millrace_testkit.load import post_all
from millrace_testkit.real import RealStack
from millrace_testkit.real_mode import RealInstallation
from millrace_testkit.stack import Process, Stack

DATA = Path(__file__).parents[1] / "data"

Landing = Callable[..., AbstractContextManager[tuple[Stack, Process]]]


@pytest.fixture(scope="session")
def bodies() -> list[bytes]:
    """Every payload of the sample, in order."""
    return gzip.decompress((DATA / "wechat_webhooks.jsonl.gz").read_bytes()).splitlines()


@pytest.fixture(scope="session")
def truth() -> dict[str, int]:
    """What the sample's makers say that it holds."""
    counts: dict[str, int] = json.loads((DATA / "wechat_webhooks.truth.json").read_text())
    return counts


@pytest.fixture(scope="session")
def per_day(bodies: list[bytes]) -> dict[str, int]:
    """Distinct messages per UTC day of create_time, counted from the payloads themselves."""
    seen: dict[str, str] = {}
    for body in bodies:
        for data in messages_in(json.loads(body)):
            created = datetime.fromtimestamp(int(data["create_time"]), UTC)
            seen.setdefault(str(data["msg_id"]), f"{created:%Y-%m-%d}")
    return dict(Counter(seen.values()))


@pytest.fixture(scope="session", params=["embedded", pytest.param("real", marks=pytest.mark.real)])
def servers(request: pytest.FixtureRequest) -> RealStack | None:
    """What the way leads over: none, or real servers with a relay in between."""
    if request.param == "embedded":
        return None
    found: RealStack = request.getfixturevalue("real_stack")
    return found


@dataclass(frozen=True)
class Posted:
    """A data directory into which the sample and 50 bad bodies were posted, and how each was answered."""

    data: Path
    statuses: list[int]


@pytest.fixture(scope="session")
def posted_once(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes], servers: RealStack | None
) -> Posted:
    """The sample, then 50 bad bodies, through a real door and landed."""
    bad = [not_json(number) for number in range(50)]
    with landing_in(tmp_path_factory.mktemp("once"), servers) as (stack, door):
        statuses = asyncio.run(post_all(door.endpoint.http_port, [*bodies, *bad]))
        stack.wait_landed()
        return Posted(stack.data, statuses)


@pytest.fixture
def landing(tmp_path: Path, servers: RealStack | None) -> Landing:
    """`with landing(SETTING=value) as (stack, door)`: see `landing_in`."""
    return partial(landing_in, tmp_path, servers)


@contextmanager
def landing_in(home: Path, servers: RealStack | None, **settings: str) -> Iterator[tuple[Stack, Process]]:
    """A door and a lake writer, over real servers a relay too, all ready, each a process; `settings` are the
    writer's."""
    with Stack.embedded(home) if servers is None else Stack.real(home, servers) as stack:
        door = stack.door()
        started = [door, stack.lake_writer(**settings)]
        if isinstance(stack, RealInstallation):
            started.append(stack.relay())
        for process in started:
            process.wait_ready()
        yield stack, door


def messages_in(payload: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages of one payload of the sample; its other kinds have none."""
    data = payload.get("data")
    if "data" not in payload and "msg_id" in payload:
        return [payload]
    if payload["notify_type"] == 1011 and isinstance(data, list):
        return [element for element in data if "msg_id" in element]
    if isinstance(data, dict) and {"msg_id", "create_time", "from_username"} <= data.keys():
        return [data]
    return []
