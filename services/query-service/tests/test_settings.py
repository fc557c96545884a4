"""Settings say what is wrong with them, by name; the process ends with code 78."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from millrace_runtime.settings import SettingsError
from query_service.settings import QuerySettings, ServerSettings


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/data/parquet", "/data/parquet/messages"),
        ("file:///data/parquet", "/data/parquet/messages"),
        ("file://localhost/data/a%20b", "/data/a b/messages"),
        ("/data/a%20b", "/data/a%20b/messages"),
    ],
)
def test_the_lake_is_a_path_or_its_url(url: str, path: str) -> None:
    settings = QuerySettings.load(lake=url)
    assert settings.table_of("messages") == Path(path)
    assert settings.archive_of("contacts") == Path(path).parents[1] / "archive" / "contacts"
    elsewhere = QuerySettings.load(lake=url, archive="file:///old")
    assert elsewhere.archive_of("messages") == Path("/old/messages")


@pytest.mark.parametrize("url", ["parquet", "s3://bucket/parquet", "file://data/parquet", "file:data"])
def test_another_lake_is_refused_by_name(url: str) -> None:
    with pytest.raises(SettingsError, match="MILLRACE_LAKE"):
        QuerySettings.load(lake=url)


@pytest.mark.parametrize("size", ["512", "MB", "0GB", "-1GB", "1 GB", "lots"])
def test_a_memory_size_without_sense_is_refused_by_name(size: str) -> None:
    with pytest.raises(SettingsError, match="MILLRACE_QUERY_MEMORY"):
        QuerySettings.load(lake="/x", query_memory=size)


@pytest.mark.parametrize("url", ["localhost", "ftp://localhost:50054", "localhost:port"])
def test_an_auth_address_is_host_and_port(url: str) -> None:
    with pytest.raises(SettingsError, match="MILLRACE_AUTH_URL"):
        ServerSettings.load(lake="/x", auth_url=url)


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({}, ["MILLRACE_LAKE", "MILLRACE_AUTH_URL"]),
        ({"MILLRACE_LAKE": "/x", "MILLRACE_AUTH_URL": "h:1", "MILLRACE_LAKES": "/y"}, ["MILLRACE_LAKES"]),
    ],
)
def test_the_process_names_what_is_missing_or_misspelt(environment: dict[str, str], named: list[str]) -> None:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MILLRACE_")}
    ended = subprocess.run(
        [sys.executable, "-m", "query_service.processes.server"],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 78
    assert all(name in ended.stderr for name in named)
