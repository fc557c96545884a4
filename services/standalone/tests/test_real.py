"""Real mode on one host: what each process is given, and one life of it as a user has it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from auth_service.settings import ServerSettings as AuthServer
from id_service.processes.server import ServerSettings as IdServer
from ingest_service.keep.settings import MaintenanceSettings
from ingest_service.land.settings import LakeWriterSettings
from ingest_service.relay.settings import RelaySettings
from ingest_service.settings_webhook import WebhookSettings
from millrace_runtime.listen import PortTakenError, probe
from millrace_runtime.settings import Settings
from millrace_testkit.ports import free_offset
from millrace_testkit.real import RealStack
from millrace_testkit.stack import wait_until
from query_service.settings import ServerSettings as QueryServer
from standalone.data_directory import DataDirectory, DataDirectoryError, owned
from standalone.ports import endpoints
from standalone.real.places import FIRST_SERVER_PORT, SERVER_PORTS, check_reachable, default_root
from standalone.real.processes import ProcessPlan, Servers, plans

SETTINGS: dict[str, type[Settings]] = {
    "auth-service": AuthServer,
    "id-service": IdServer,
    "webhook": WebhookSettings,
    "relay": RelaySettings,
    "lake-writer": LakeWriterSettings,
    "maintenance": MaintenanceSettings,
    "query-service": QueryServer,
}
READY_WITHIN_S = 240.0


def planned(root: Path, port_offset: int = 0) -> list[ProcessPlan]:
    found = Servers(
        kafka="kafka://127.0.0.1:1",
        auth_database="postgresql://millrace@127.0.0.1:2/auth",
        id_database="postgresql://millrace@127.0.0.1:2/ids",
        etcd="etcd://127.0.0.1:3",
    )
    groups = plans(DataDirectory(root), found, endpoints(port_offset), port_offset)
    return [plan for group in groups for plan in group]


def test_every_process_of_the_table_is_planned_once(tmp_path: Path) -> None:
    assert sorted(plan.name for plan in planned(tmp_path)) == sorted(SETTINGS)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_process_can_load_the_settings_that_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for variable in os.environ:
        if variable.startswith("MILLRACE_"):
            monkeypatch.delenv(variable)
    [plan] = [plan for plan in planned(tmp_path, 100) if plan.name == name]
    for setting, value in plan.settings.items():
        assert f"MILLRACE_{setting}" in SETTINGS[name].names()
        monkeypatch.setenv(f"MILLRACE_{setting}", value)
    loaded = SETTINGS[name].load()
    assert loaded.port_offset == 100  # type: ignore[attr-defined]


def test_no_two_processes_share_a_port(tmp_path: Path) -> None:
    ports = [plan.management_port for plan in planned(tmp_path)]
    ports += [port for place in endpoints(0).values() for port in (place.http_port, place.grpc_port)]
    ports += range(FIRST_SERVER_PORT, FIRST_SERVER_PORT + SERVER_PORTS)
    assert len(set(ports)) == len(ports)


def test_commands_are_those_of_this_environment(tmp_path: Path) -> None:
    for plan in planned(tmp_path):
        assert Path(plan.arguments()[0]).parent == Path(sys.executable).parent
        assert os.access(plan.arguments()[0], os.X_OK)


def test_the_directory_is_another_one_than_that_of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.delenv("MILLRACE_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", "/home/somebody/data")
    assert default_root() == Path("/home/somebody/data/millrace-real")
    monkeypatch.setenv("MILLRACE_DATA", "/srv/millrace")
    assert default_root() == Path("/srv/millrace")


def test_a_directory_that_postgresql_cannot_enter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    check_reachable(closed / "data")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(DataDirectoryError, match=r"--data"):
        check_reachable(closed / "data")


class Up:
    """`make up` as a process; what it has printed."""

    def __init__(self, root: Path, offset: int, log: Path) -> None:
        self._log = log
        environ = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "standalone.real", "--data", str(root), "--port-offset", str(offset)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environ,
            )

    def printed(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_ready(self) -> None:
        def done() -> bool:
            assert self.popen.poll() is None, self.printed()
            return "Ctrl-C stops" in self.printed()

        wait_until(done, READY_WITHIN_S, "real mode ready")

    def stop(self) -> int:
        self.popen.send_signal(signal.SIGINT)
        return self.popen.wait(90)

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(30)


@pytest.fixture
def home(real_stack: RealStack) -> Iterator[Path]:
    """A directory that PostgreSQL's user can enter, unlike pytest's own. `real_stack`: skips where a server is not
    installed."""
    with tempfile.TemporaryDirectory(prefix="millrace-up-") as made:
        path = Path(made)
        path.chmod(0o711)
        yield path


@pytest.fixture
def ended() -> Iterator[ExitStack]:
    """Ends what is pushed on it, whatever happens."""
    with ExitStack() as stack:
        yield stack


def family(pid: int) -> set[int]:
    return {child.pid for child in psutil.Process(pid).children(recursive=True)}


def get(url: str, key: str) -> dict[str, object]:
    request = urllib.request.Request(url, headers={"X-API-Key": key})
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, object] = json.loads(answer.read())
    return found


@pytest.mark.real
def test_a_second_real_mode_on_the_same_data_is_refused_and_starts_nothing(
    home: Path, ended: ExitStack
) -> None:
    root = home / "data"
    with owned(root):
        second = Up(root, free_offset(), home / "second.log")
        ended.callback(second.kill)
        assert second.popen.wait(60) == 1
    for text in ("in use", str(root), "--data"):
        assert text in second.printed()
    assert "Traceback" not in second.printed()
    assert not (root / "servers").exists()


@pytest.mark.real
@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_real_mode_lives_goes_on_after_a_stop_and_leaves_nothing_running(
    home: Path, ended: ExitStack
) -> None:
    root, offset = home / "data", free_offset()

    def start(name: str) -> Up:
        up = Up(root, offset, home / f"{name}.log")
        ended.callback(up.kill)
        up.wait_ready()
        return up

    count = f"http://127.0.0.1:{8081 + offset}/api/v1/messages?start=2026-01-01&end=2026-01-30&limit=1"

    first = start("first")
    printed = first.printed()
    for name in (*SETTINGS, "kafka", "postgresql", "redis", "etcd", str(root / "credentials.json")):
        assert name in printed
    key = json.loads((root / "credentials.json").read_text())["user_key"]
    answer = get(count, key)
    assert answer["total"] == 1921

    # A process that ends is started again.
    relay = next(
        process
        for pid in family(first.popen.pid)
        if (process := psutil.Process(pid)).cmdline()[1:3]
        == [str(Path(sys.executable).with_name("ingest-service")), "relay"]
    )
    relay.kill()
    wait_until(lambda: "relay ended with -9" in first.printed(), 30, "the end of the relay said")
    ready = f"http://127.0.0.1:{9095 + offset}/ready"
    wait_until(lambda: _ready(ready), 60, "the relay ready again")

    started = family(first.popen.pid)
    assert first.stop() == 0
    assert not [pid for pid in started if psutil.pid_exists(pid)]

    second = start("second")
    assert "replaying" not in second.printed()
    assert get(count, key)["total"] == 1921
    started = family(second.popen.pid)
    second.kill()  # nobody is left to stop them in order
    wait_until(lambda: not [pid for pid in started if psutil.pid_exists(pid)], 60, "nothing left running")
    try:
        probe("127.0.0.1", FIRST_SERVER_PORT + offset)
    except PortTakenError:
        pytest.fail("Kafka still listens")


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
