"""What a run of faults kills: processes of an installation, and the servers that they work on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from millrace_testkit.drawer import PER_CALL, Drawer
from millrace_testkit.real.server import Server
from millrace_testkit.real_mode import RealInstallation
from millrace_testkit.stack import Process, Stack

SMALL = {"LAND_MAX_ROWS": "300", "LAND_INTERVAL_S": "0.05", "INDEX_SNAPSHOT_KEYS": "300"}
"""So that there are many commits to be interrupted."""

EAGER = {"COMPACT_ABOVE_FILES": "8", "MAINTENANCE_INTERVAL_S": "0.1", "MAINTENANCE_LEASE_S": "1"}
"""So that there is always something to keep."""

MISSED_SOON = {"KAFKA_SESSION_TIMEOUT_S": "6"}
"""What a killed lake writer had is given to the other one after the least time that Kafka allows."""


class Victim(Protocol):
    """Something that runs, is killed with this weight among the others, 0 for never, and is started again."""

    weight: float

    @property
    def alive(self) -> bool:
        """Whether it has not ended by itself, as nothing should."""

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""

    def start_again(self) -> None:
        """Begin to start it; returns at once."""

    def wait_ready(self) -> None:
        """Return when it serves. Raises AssertionError or ServerError when it does not."""

    def stop(self) -> None:
        """End it in good order."""

    def log(self) -> str:
        """What it said, to explain why it ended."""


class ProcessVictim:
    """A process of the installation; `start` starts another one like it."""

    def __init__(self, start: Callable[[], Process], weight: float) -> None:
        self.weight = weight
        self._start = start
        self.process = start()

    @property
    def alive(self) -> bool:
        return self.process.alive

    def kill(self) -> None:
        self.process.kill()

    def start_again(self) -> None:
        self.process = self._start()

    def wait_ready(self) -> None:
        self.process.wait_ready()

    def stop(self) -> None:
        self.process.stop()

    def log(self) -> str:
        return self.process.log()


class ServerVictim:
    """A real server; it keeps its data and its port. The others go on while it is away."""

    def __init__(self, server: Server, weight: float) -> None:
        self.weight = weight
        self._server = server
        self._starts = ThreadPoolExecutor(1, thread_name_prefix=f"start-{server.name}")
        self._starting: Future[object] | None = None

    @property
    def alive(self) -> bool:
        return self._server.running

    def kill(self) -> None:
        self.wait_ready()  # to kill it while it starts would try the server, not us
        self._server.kill()

    def start_again(self) -> None:
        self._starting = self._starts.submit(self._server.start)

    def wait_ready(self) -> None:
        if self._starting is not None:
            self._starting.result()

    def stop(self) -> None:
        self.wait_ready()
        self._starts.shutdown()

    def log(self) -> str:
        return self._server.log()


@dataclass(frozen=True)
class Victims:
    """All of an installation by their names, and where they keep what they took in.

    Args:
        doors: those that senders post to.
        directories: the data directories with the doors' journals.
        drawer: draws ids meanwhile; None where nobody does.
    """

    named: Mapping[str, Victim]
    doors: Sequence[ProcessVictim]
    directories: Sequence[Path]
    drawer: Drawer | None = None


def embedded_victims(stack: Stack) -> Victims:
    """A door, a lake writer, a keeper and a whole `millrace up`, all on one data directory."""
    door = ProcessVictim(stack.door, 3.0)
    everything = ProcessVictim(lambda: stack.up(**SMALL, **EAGER), 1.5)
    named: dict[str, Victim] = {
        "door": door,
        "lake writer": ProcessVictim(lambda: stack.lake_writer(**SMALL), 4.0),
        "keeper": ProcessVictim(lambda: stack.maintenance(**EAGER), 1.5),
        "millrace up": everything,
    }
    return Victims(named, [door, everything], [stack.data])


def real_victims(stack: RealInstallation) -> Victims:
    """Two doors with a relay each, two lake writers that share the partitions, a keeper, id-service with the
    auth-service that it asks, the broker, PostgreSQL and etcd."""
    doors = [ProcessVictim(stack.door, 2.0), ProcessVictim(lambda: stack.door("second"), 1.0)]
    auth = ProcessVictim(stack.auth, 0.0)  # a restarted one would listen elsewhere than id-service looks
    ids = ProcessVictim(lambda: stack.ids(ID_BATCH_MAX_SIZE=str(PER_CALL)), 1.0)
    named: dict[str, Victim] = {
        "door": doors[0],
        "second door": doors[1],
        "relay": ProcessVictim(stack.relay, 3.0),
        "second relay": ProcessVictim(lambda: stack.relay("second"), 1.0),
        "lake writer": ProcessVictim(lambda: stack.lake_writer(**SMALL, **MISSED_SOON), 3.0),
        "second lake writer": ProcessVictim(lambda: stack.lake_writer(**SMALL, **MISSED_SOON), 2.0),
        "keeper": ProcessVictim(lambda: stack.maintenance(**EAGER), 1.5),
        "auth-service": auth,
        "id-service": ids,
        "broker": ServerVictim(stack.servers.kafka_server, 0.5),
        "PostgreSQL": ServerVictim(stack.servers.postgresql_server, 1.5),
        "etcd": ServerVictim(stack.servers.etcd_server, 1.0),
    }
    drawer = Drawer(lambda: ids.process.endpoint.http_port, stack.credentials)
    return Victims(named, doors, [stack.door_data(), stack.door_data("second")], drawer)
