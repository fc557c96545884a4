"""An installation whose processes work on real servers."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException

from millrace_schemas import topics
from millrace_testkit.bus_progress import unlanded_records, unrelayed
from millrace_testkit.real import RealStack
from millrace_testkit.stack import LANDED_WITHIN_S, Process, Stack

LANDED = ("webhook.messages",)
"""Topics whose records go into the lake."""


class RealInstallation(Stack):
    """Doors with their relays, lake writers and maintenance over Kafka and etcd; the services' rows in PostgreSQL.

    Of servers that are given, entering deletes the topics of Millrace and all keys of etcd, unless they are to be
    `kept`: an installation has these names to itself. They stay on leaving. Without them it has servers of its own,
    as long as the block lasts.
    """

    def __init__(
        self, home: Path, servers: RealStack | None = None, *, kept: bool = False, **environ: str
    ) -> None:
        super().__init__(home, **environ)
        self._home = home
        self._given = servers
        self._kept = kept
        self._doors: set[Path] = set()
        self._own: RealStack | None = None
        self._databases: dict[str, str] = {}

    def __enter__(self) -> Self:
        if self._given is None:
            self._own = RealStack().start()
        elif not self._kept:
            self._given.kafka_server.delete_topics(topics.NAMES)
            self._given.etcd_server.delete_keys()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._own is not None:
            self._own.end()

    @property
    def servers(self) -> RealStack:
        """Kafka, PostgreSQL, Redis and etcd of this installation."""
        servers = self._given or self._own
        assert servers is not None, "the block was not entered"
        return servers

    @property
    def bus(self) -> str:
        """MILLRACE_BUS of all but the doors."""
        return f"kafka://{self.servers.kafka}"

    @property
    def objects(self) -> str:
        """MILLRACE_OBJECTS of this installation."""
        return f"file://{self._home / 'objects'}"

    def door(self, name: str | None = None, **settings: str) -> Process:
        """A webhook door; each name has journals of its own, no name those in the data directory."""
        directory = self.door_data(name)
        self._doors.add(directory)
        directory.mkdir(parents=True, exist_ok=True)
        return super().door(**{"BUS": f"journal:{directory}", **settings})

    def relay(self, name: str | None = None, **settings: str) -> Process:
        """The relay of the door of that name."""
        own = {"DATA": str(self.door_data(name)), "BUS": self.bus, "OBJECTS": self.objects}
        return self._module("relay", own, settings)

    def lake_writer(self, **settings: str) -> Process:
        """A landing process."""
        return super().lake_writer(**{"OBJECTS": self.objects, **settings})

    def maintenance(self, **settings: str) -> Process:
        """A keeper of the lake."""
        return super().maintenance(**{"COORDINATION": self.servers.etcd, **settings})

    def database(self, name: str) -> str:
        """URL of a database of this installation, empty when it is first asked for."""
        if name not in self._databases:
            self._databases[name] = self.servers.new_database()
        return self._databases[name]

    def door_data(self, name: str | None = None) -> Path:
        """The data directory of the door of that name."""
        return self.data if name is None else self._home / f"door-{name}"

    def wait_landed(self, within_s: float = LANDED_WITHIN_S) -> None:
        """Return when Kafka holds every line of the doors' journals, and the lake every record of Kafka."""
        super().wait_landed(within_s)

    def _left(self) -> dict[str, str]:
        left = {f"{door.name}/{day}": said for door in self._doors for day, said in unrelayed(door).items()}
        try:
            return left or unlanded_records(self.data, self.servers.kafka, LANDED)
        except KafkaException as error:  # away for now
            return {"kafka": str(error)}
