"""The processes of real mode: each one's command and the settings that it gets."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from millrace_runtime.service import PROCESS_PORTS, Endpoint
from standalone.data_directory import DataDirectory
from standalone.ports import HOST
from standalone.real.places import objects


@dataclass(frozen=True, slots=True)
class Servers:
    """URLs of what runs beside us."""

    kafka: str
    auth_database: str
    id_database: str
    etcd: str


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """A process by its name in the process table. `management_port` is where it says whether it is ready."""

    name: str
    command: tuple[str, str]
    settings: Mapping[str, str]
    management_port: int

    def arguments(self) -> list[str]:
        """What to execute: the command as it is installed beside this interpreter."""
        program, *words = self.command
        return [str(Path(sys.executable).with_name(program)), *words]

    def environment(self) -> dict[str, str]:
        """The environment of this process, its own settings on top."""
        return os.environ | {f"MILLRACE_{name}": value for name, value in self.settings.items()}


def plans(
    directory: DataDirectory, servers: Servers, places: Mapping[str, Endpoint], port_offset: int
) -> list[list[ProcessPlan]]:
    """All processes, in groups that start together, each group when the one before is ready."""
    offset = {"PORT_OFFSET": str(port_offset)}
    served = {"HOST": HOST, **offset}
    auth = {"AUTH_URL": f"{HOST}:{places['auth-service'].grpc_port}"}
    data, bus = {"DATA": str(directory.root)}, {"BUS": servers.kafka}
    kept = {"OBJECTS": f"file://{objects(directory)}"}

    def plan(
        name: str, command: tuple[str, str], settings: Mapping[str, str], service: str = ""
    ) -> ProcessPlan:
        port = places[service].management_port if service else PROCESS_PORTS[name] + port_offset
        return ProcessPlan(name, command, settings, port)

    return [
        [
            plan(
                "auth-service",
                ("auth-service", "server"),
                served
                | {
                    "AUTH_DATABASE_URL": servers.auth_database,
                    "CREDENTIALS_FILE": str(directory.credentials),
                },
                "auth-service",
            ),
        ],
        [
            plan(
                "id-service",
                ("id-service", "server"),
                served | auth | {"ID_DATABASE_URL": servers.id_database, "ID_SEED_DEMO": "1"},
                "id-service",
            ),
            plan(
                "webhook",
                ("ingest-service", "webhook"),
                offset
                | auth
                | {
                    "BUS": f"journal:{directory.root}",
                    "WEBHOOK_HOST": HOST,
                    "WEBHOOK_LAKE": str(directory.lake),
                },
                "ingest-service",
            ),
            plan("relay", ("ingest-service", "relay"), served | data | bus | kept),
            plan("lake-writer", ("ingest-service", "lake-writer"), served | data | bus | kept),
            plan(
                "maintenance",
                ("ingest-service", "maintenance"),
                served | data | {"COORDINATION": servers.etcd},
            ),
        ],
        [
            plan(
                "query-service",
                ("query-service", "server"),
                served | auth | {"LAKE": f"file://{directory.lake}"},
                "query-service",
            ),
        ],
    ]
