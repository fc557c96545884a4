"""A data directory, and the commands run on it as a person runs them."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from millrace_testkit.messages_lake import MessagesLake, Row, message
from standalone.storage.cli import storage as app

Run = Callable[..., Result]


def days_ago(days: int, number: int = 0) -> Row:
    """A message of noon so many UTC days ago."""
    today = datetime.datetime.now(datetime.UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    return message(number or days, today - datetime.timedelta(days=days))


def result(done: Result) -> Any:
    """What was printed with --json."""
    return json.loads(done.stdout)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def lake(data: Path) -> MessagesLake:
    return MessagesLake(data / "parquet")


@pytest.fixture
def storage(data: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `millrace storage ARGUMENTS` with MILLRACE_DATA naming the directory."""
    monkeypatch.setenv("MILLRACE_DATA", str(data))
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(part) for part in arguments])
