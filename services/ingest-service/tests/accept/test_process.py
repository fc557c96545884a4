"""The door as its own process: start, refusal to start, stop, kill."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace_runtime.service import Endpoint

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path, endpoint: Endpoint, open_door: Any) -> Iterator[Start]:
    running: list[subprocess.Popen[str]] = []

    def start(**settings: str) -> "subprocess.Popen[str]":
        environ = os.environ | {
            "MILLRACE_BUS": f"journal:{tmp_path}",
            "MILLRACE_WEBHOOK_HOST": "127.0.0.1",
            "MILLRACE_WEBHOOK_PORT": str(endpoint.http_port),
            "MILLRACE_WEBHOOK_GRPC_PORT": str(endpoint.grpc_port),
            "MILLRACE_WEBHOOK_MANAGEMENT_PORT": str(endpoint.management_port),
            **settings,
        }
        command = [sys.executable, "-m", "ingest_service.processes.webhook"]
        process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()


def post(endpoint: Endpoint, body: bytes) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.http_port, timeout=20)
    try:
        connection.request("POST", "/webhook/wechat", body)
        return connection.getresponse().status
    finally:
        connection.close()


def wait_open(endpoint: Endpoint, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 30
    while True:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        try:
            socket.create_connection(("127.0.0.1", endpoint.http_port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return


def stored(data: Path) -> list[bytes]:
    return b"".join(path.read_bytes() for path in (data / "messages/raw").glob("*.jsonl")).split(b"\n")


def test_stop_finishes_a_slow_post_and_exits_0(start: Start, endpoint: Endpoint, tmp_path: Path) -> None:
    """LAKE-18, LAKE-S18."""
    process = start()
    wait_open(endpoint, process)
    assert post(endpoint, b'{"n":1}') == 200
    slow = socket.create_connection(("127.0.0.1", endpoint.http_port), 20)
    slow.sendall(b"POST /webhook/wechat HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\n{")
    assert post(endpoint, b'{"n":2}') == 200
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    while "stop_asked" not in process.stderr.readline():
        pass
    slow.sendall(b'"n":3}')
    assert slow.makefile("rb").readline().startswith(b"HTTP/1.1 200")
    slow.close()
    assert process.wait(20) == 0
    assert stored(tmp_path) == [b'{"n":1}', b'{"n":2}', b'{"n":3}', b""]


def test_a_taken_port_ends_the_start_and_names_port_and_remedy(start: Start, endpoint: Endpoint) -> None:
    """LAKE-18."""
    with socket.create_server(("127.0.0.1", endpoint.http_port)):
        process = start()
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"port {endpoint.http_port}" in errors
    assert "MILLRACE_WEBHOOK_PORT" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"MILLRACE_BUS": ""}, "MILLRACE_BUS is not set"),
        ({"MILLRACE_BUS": "kafka://h"}, "MILLRACE_BUS is wrong"),
        ({"MILLRACE_WEBHOOK_PROT": "1"}, "MILLRACE_WEBHOOK_PORT"),
    ],
)
def test_bad_settings_end_the_start(start: Start, settings: dict[str, str], named: str) -> None:
    process = start(**settings)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, named in errors) == (78, True), errors


@pytest.mark.faults
@pytest.mark.parametrize("moment", ["BEFORE_JOURNAL_SYNC", "AFTER_JOURNAL_SYNC_BEFORE_ANSWER"])
def test_a_crash_at_a_named_moment_loses_nothing_answered(
    start: Start, endpoint: Endpoint, tmp_path: Path, moment: str
) -> None:
    """LAKE-10."""
    process = start(MILLRACE_CRASH_AT=f"{moment}#3")
    wait_open(endpoint, process)
    answered = [b'{"n":1}', b'{"n":2}']
    for body in answered:
        assert post(endpoint, body) == 200
    with pytest.raises((http.client.HTTPException, OSError)):
        post(endpoint, b'{"n":3}')
    assert process.wait(20) == -signal.SIGKILL
    assert stored(tmp_path)[:2] == answered

    wait_open(endpoint, start())
    assert post(endpoint, b'{"again":1}') == 200
    assert set(answered) | {b'{"again":1}'} <= set(stored(tmp_path))


@pytest.mark.faults
def test_kill_9_under_load_loses_nothing_answered(start: Start, endpoint: Endpoint, tmp_path: Path) -> None:
    """LAKE-10."""
    answered: list[bytes] = []
    for generation in range(2):
        process = start()
        wait_open(endpoint, process)

        def send(sender: int, generation: int = generation) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", endpoint.http_port, timeout=20)
            for number in range(100_000):
                body = json.dumps({"id": f"{generation}-{sender}-{number}", "pad": "x" * 600}).encode()
                try:
                    connection.request("POST", "/webhook/wechat", body)
                    answer = connection.getresponse()
                    answer.read()
                except (http.client.HTTPException, OSError):
                    break
                if answer.status == 200:
                    answered.append(body)
            connection.close()

        senders = [threading.Thread(target=send, args=(sender,)) for sender in range(4)]
        before = len(answered)
        for sender in senders:
            sender.start()
        while len(answered) < before + 300:
            time.sleep(0.01)
        process.kill()
        for sender in senders:
            sender.join()
    lines = stored(tmp_path)
    assert set(answered) <= set(lines)
    assert len(lines) - 1 <= len(answered) + 2 * 4 + 1  # at most what was under way, and a torn line
