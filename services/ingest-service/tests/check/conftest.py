"""A messages table, or a tree without a log, for the checks to look at."""

from pathlib import Path

import pytest

from millrace_testkit.messages_lake import MessagesLake


@pytest.fixture
def lake(tmp_path: Path) -> MessagesLake:
    return MessagesLake(tmp_path / "parquet")
