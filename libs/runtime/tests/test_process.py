"""Whole processes: signals and exit codes."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from millrace_runtime.service import Endpoint

SERVER = """
import asyncio, sys
from millrace_runtime.clock import SYSTEM_CLOCK
from millrace_runtime.http import create_app
from millrace_runtime.logs import configure_logging
from millrace_runtime.process import run
from millrace_runtime.service import Endpoint, Service, serving
from idgen.v1 import idgen_pb2_grpc

configure_logging("demo")
app = create_app("demo", "1.0.0", clock=SYSTEM_CLOCK)

@app.get("/slow")
async def slow() -> str:
    print("entered", flush=True)
    await asyncio.sleep(0.5)
    return "done"

@app.get("/stuck")
async def stuck() -> None:
    print("entered", flush=True)
    await asyncio.Event().wait()

async def main(stop):
    add = lambda s: idgen_pb2_grpc.add_IdServiceServicer_to_server(idgen_pb2_grpc.IdServiceServicer(), s)
    service = Service("demo", http=app, grpc=[add], grpc_service_names=["idgen.v1.IdService"])
    async with serving(service, Endpoint("127.0.0.1", *map(int, sys.argv[1:]))):
        print("serving", flush=True)
        await stop.wait()

sys.exit(run(main))
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts Python programs; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def serve(start: Start, endpoint: Endpoint) -> subprocess.Popen[str]:
    process = start(SERVER, endpoint.http_port, endpoint.grpc_port, endpoint.management_port)
    assert process.stdout is not None
    assert process.stdout.readline() == "serving\n", process.communicate()[1]
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_finishes_the_request_in_progress_and_exits_0(
    start: Start, endpoint: Endpoint, number: signal.Signals
) -> None:
    process = serve(start, endpoint)
    assert process.stdout is not None
    with getting(f"http://127.0.0.1:{endpoint.http_port}/slow") as answer:
        assert process.stdout.readline() == "entered\n"
        process.send_signal(number)
        assert answer() == b'"done"'
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (0, "")
    events = [json.loads(line)["event"] for line in err.splitlines()]
    assert events == ["service_started", "stop_asked", "service_stopped"]


def test_a_second_signal_ends_the_process_at_once(start: Start, endpoint: Endpoint) -> None:
    process = serve(start, endpoint)
    assert process.stdout is not None
    assert process.stderr is not None
    with socket.create_connection(("127.0.0.1", endpoint.http_port)) as client:
        client.sendall(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
        assert process.stdout.readline() == "entered\n"
        process.send_signal(signal.SIGTERM)
        while "stop_asked" not in process.stderr.readline():
            pass
        before = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 128 + signal.SIGINT
        assert time.monotonic() - before < 5


def test_a_taken_port_exits_1_naming_port_and_option(start: Start, endpoint: Endpoint) -> None:
    serve(start, endpoint)
    second = start(SERVER, endpoint.http_port, endpoint.grpc_port, endpoint.management_port)
    out, err = second.communicate(timeout=20)
    assert (second.returncode, out) == (1, "")
    assert f"port {endpoint.management_port} on 127.0.0.1 is taken" in err
    assert "MILLRACE_PORT_OFFSET / --port-offset" in err
    assert "Traceback" not in err


def test_bad_settings_exit_78_with_the_message_alone(start: Start) -> None:
    process = start(
        """
        import sys
        from millrace_runtime.process import run
        from millrace_runtime.settings import SettingsError

        async def main(stop):
            raise SettingsError("MILLRACE_BUS is not set: set it")

        sys.exit(run(main))
        """
    )
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (78, "", "MILLRACE_BUS is not set: set it\n")


def test_the_message_survives_a_task_group(start: Start) -> None:
    process = start(
        """
        import asyncio, sys
        from millrace_runtime.listen import PortTakenError
        from millrace_runtime.process import run

        async def main(stop):
            async with asyncio.TaskGroup():
                raise PortTakenError("127.0.0.1", 8000, "--port-offset")

        sys.exit(run(main))
        """
    )
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    assert err.startswith("port 8000 on 127.0.0.1 is taken")
    assert "Traceback" not in err


def test_an_unexpected_failure_exits_1_and_is_logged(start: Start) -> None:
    process = start(
        """
        import sys
        from millrace_runtime.logs import configure_logging
        from millrace_runtime.process import run

        configure_logging("demo")

        async def main(stop):
            raise RuntimeError("boom")

        sys.exit(run(main))
        """
    )
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    line = json.loads(err)
    assert line["event"] == "process_failed"
    assert "RuntimeError: boom" in line["exception"]


def test_without_uvloop_the_standard_loop_serves(start: Start) -> None:
    process = start(
        """
        import asyncio, sys
        sys.modules["uvloop"] = None
        from millrace_runtime.process import run

        async def main(stop):
            print(type(asyncio.get_running_loop()).__module__)

        sys.exit(run(main))
        """
    )
    assert process.communicate(timeout=20) == ("asyncio.unix_events\n", "")
    assert process.returncode == 0


@contextmanager
def getting(url: str) -> Iterator[Callable[[], bytes]]:
    """One GET in the background; the value of the `with` waits for its body."""

    def get() -> bytes:
        with urllib.request.urlopen(url, timeout=10) as response:
            body: bytes = response.read()
            return body

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(get).result
