"""Commands as a user types them, on a lake that landing or a test has written."""

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ingest_service.lake.tables import Lake
from ingest_service.land.batch import build
from ingest_service.land.index.index import KeyIndex
from ingest_service.land.lander import Lander
from millrace.cli.app import build as build_app
from millrace_ports.bus.port import Chunk, Partition
from millrace_testkit.messages_lake import MessagesLake, Row, message

NOW_S = 1_773_500_000
Command = Callable[..., Result]


def days_ago(days: int, number: int = 0) -> Row:
    """A message of noon so many UTC days ago."""
    today = datetime.datetime.now(datetime.UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    return message(number or days, today - datetime.timedelta(days=days))


def result(done: Result) -> Any:
    """What was printed with --json."""
    return json.loads(done.stdout)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def lake(tmp_path: Path) -> MessagesLake:
    return MessagesLake(tmp_path / "parquet")


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `millrace storage …` with a data directory of its own, from another working directory."""
    monkeypatch.setenv("MILLRACE_DATA", str(tmp_path))
    monkeypatch.chdir("/")
    app = build_app()

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["storage", *map(str, arguments)])

    return run


@pytest.fixture
def land(tmp_path: Path) -> Callable[..., None]:
    """Lands payloads as lines of a journal, as the lake writer does."""
    root = Lake(tmp_path / "parquet")
    index = KeyIndex(root.path("messages"), tmp_path / "metadata" / "key_index")
    lander = Lander(root, index, reject=lambda rows: None, now_s=lambda: NOW_S)
    partition = Partition("webhook.messages", "door-1/2026-03-14")

    def landed(*payloads: dict[str, Any]) -> None:
        start = lander.position(partition)
        end = start + len(payloads)
        values = [json.dumps(payload, ensure_ascii=False).encode() for payload in payloads]
        times = [1_773_450_000_000 + number for number in range(start, end)]
        chunk = Chunk(partition, start, end, values, range(start + 1, end + 1), times)
        lander.commit(build([chunk], ingested_at_s=NOW_S))

    return landed
