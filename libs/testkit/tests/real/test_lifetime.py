"""Servers do not outlive the run that started them, and leave nothing behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from millrace_testkit.real import BackendMissingError, RealStack, programs
from millrace_testkit.real.fixtures import started
from millrace_testkit.stack import wait_until

GONE_WITHIN_S = 30.0

OWNER = """
import signal, sys
from millrace_testkit.real import RealStack
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a run in the background inherits as ignored
stack = RealStack().start(*sys.argv[1:])
for name in sys.argv[1:]:
    server = stack.servers[name]
    print(server.pid, server.directory.parent, flush=True)
sys.stdin.read()
"""


def processes_below(home: Path) -> list[psutil.Process]:
    """Processes that have the directory in their command line or work in it, the watchdog among them."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(home) in " ".join(process.cmdline()) or process.cwd().startswith(str(home)):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.real
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_when_the_owner_is_ended(end: signal.Signals) -> None:
    names = ["kafka", "postgresql", "redis", "etcd"] if end is signal.SIGKILL else ["postgresql", "redis"]
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, *names],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as owner:
        try:
            assert owner.stdout is not None
            lines = [owner.stdout.readline().split() for _ in names]
            pids, home = [int(pid) for pid, _ in lines], Path(lines[0][1])
            assert all(psutil.pid_exists(pid) for pid in pids)
            assert len(processes_below(home)) > len(names)

            owner.send_signal(end)
            owner.wait(GONE_WITHIN_S)
        finally:
            owner.kill()
    wait_until(lambda: not processes_below(home), GONE_WITHIN_S, "all processes are gone")
    wait_until(lambda: not home.exists(), GONE_WITHIN_S, "the data is removed")
    assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.real
def test_a_paused_server_ends_with_its_stack() -> None:
    with RealStack() as stack:
        server = stack.start("redis").redis_server
        pid, home = server.pid, server.directory.parent
        server.pause()
    assert not psutil.pid_exists(pid)
    assert not home.exists()


@pytest.mark.real
def test_a_stopped_server_is_gone_and_its_port_is_free() -> None:
    with RealStack() as stack:
        server = stack.start("redis").redis_server
        pid = server.pid
        server.stop()
        assert not psutil.pid_exists(pid)
        assert not server.answers()
        server.stop()


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of the servers that are looked up on PATH."""
    monkeypatch.setattr(programs, "_SERVER_PATH", str(tmp_path))


@pytest.mark.usefixtures("nothing_installed")
def test_a_server_that_is_not_installed_is_named_with_how_to_install_it() -> None:
    with RealStack() as stack, pytest.raises(BackendMissingError, match=r"Redis.*redis-server.*backends\.sh"):
        stack.start("redis")


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize(("required", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_a_missing_server_skips_unless_it_is_required(
    monkeypatch: pytest.MonkeyPatch, required: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setitem(os.environ, "MILLRACE_REQUIRE_REAL", required)
    with RealStack() as stack, pytest.raises(outcome, match="etcd is not installed"):
        started(stack, "etcd")
