"""`ingest-service serve` as it is typed: options, file and environment, and what it says (LAKE 2.1, LAKE-18)."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest_service.cli import COMMANDS
from millrace_runtime.commands import run_command
from millrace_runtime.service import Endpoint

Serve = Callable[..., "subprocess.Popen[str]"]
COMMAND = str(Path(sys.executable).with_name("ingest-service"))


@pytest.fixture
def serve(endpoint: Endpoint, open_door: Any) -> Iterator[Serve]:
    running: list[subprocess.Popen[str]] = []

    def serve(*options: str, **settings: str) -> "subprocess.Popen[str]":
        environ = os.environ | {
            "MILLRACE_WEBHOOK_GRPC_PORT": str(endpoint.grpc_port),
            "MILLRACE_WEBHOOK_MANAGEMENT_PORT": str(endpoint.management_port),
            **settings,
        }
        process = subprocess.Popen(
            [COMMAND, "serve", *options],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield serve
    for process in running:
        process.kill()
        process.communicate()


def test_options_beat_settings_and_it_says_where_it_is(
    serve: Serve, endpoint: Endpoint, tmp_path: Path
) -> None:
    config = tmp_path / "door.yaml"
    config.write_text(
        f"bus: journal:{tmp_path}\nhost: 0.0.0.0\nport: 1\nwebhook_path: /in\nlog_file: door.log\n"
    )
    process = serve(
        *("--config", str(config), "--host", "127.0.0.1", "--port", str(endpoint.http_port)),
        *("--log-level", "warning"),
        WEBHOOK_PORT="2",
        WEBHOOK_LOG_LEVEL="DEBUG",
        WEBHOOK_HEALTH_CHECK_PATH="/up",
    )
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(6)] == [
        "host: 127.0.0.1\n",
        f"port: {endpoint.http_port}\n",
        "log level: WARNING\n",
        f"log file: {tmp_path}/door.log\n",
        "webhook path: /in\n",
        "health path: /up\n",
    ]
    base = f"http://127.0.0.1:{endpoint.http_port}"
    with urllib.request.urlopen(urllib.request.Request(f"{base}/in", b'{"a":1}')) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(f"{base}/up") as answer:
        assert json.load(answer)["message_count"] == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    (journal,) = (tmp_path / "messages/raw").glob("*.jsonl")
    assert journal.read_bytes() == b'{"a":1}\n'
    assert json.loads((tmp_path / "door.log").read_text())["path"] == "/in"


def test_a_taken_port_is_named_with_a_remedy(serve: Serve, endpoint: Endpoint, tmp_path: Path) -> None:
    """LAKE-18."""
    with socket.create_server(("127.0.0.1", endpoint.http_port)):
        process = serve(
            *("--host", "127.0.0.1", "--port", str(endpoint.http_port)), MILLRACE_BUS=f"journal:{tmp_path}"
        )
        said, errors = process.communicate(timeout=30)
    assert (process.returncode, said) == (1, "")
    assert f"port {endpoint.http_port} on 127.0.0.1 is taken" in errors
    assert "--port" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--port", "0"], "argument --port: '0' is not a port"),
        (["--port", "65536"], "argument --port: '65536' is not a port"),
        (["--port", "http"], "argument --port: 'http' is not a port"),
        (["--log-level", "loud"], "argument --log-level: invalid choice"),
        (["--prot", "1"], "unrecognized arguments: --prot"),
    ],
)
def test_an_option_that_makes_no_sense_is_2_and_named(
    options: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command("ingest-service", "", COMMANDS, ["serve", *options])
    assert ended.value.code == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--config", "/nowhere/door.yaml"], "/nowhere/door.yaml: cannot be read"),
        ([], "MILLRACE_BUS is not set"),
    ],
)
def test_settings_that_are_missing_are_78_and_named(serve: Serve, options: list[str], named: str) -> None:
    process = serve(*options)
    said, errors = process.communicate(timeout=30)
    assert (process.returncode, said, named in errors) == (78, "", True), errors
