"""The process table, and what each form of deployment says about a process."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from auth_service import settings as auth
from id_service.processes import server as ids
from ingest_service.keep.settings import MaintenanceSettings
from ingest_service.land.settings import LakeWriterSettings
from ingest_service.relay.settings import RelaySettings
from ingest_service.settings_webhook import WebhookSettings
from millrace_runtime.service import PORTS, PROCESS_PORTS
from millrace_runtime.settings import Settings
from query_service import settings as query

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
OVERLAYS = sorted(path.parent.name for path in DEPLOY.glob("k8s/overlays/*/kustomization.yaml"))
KEEP_RUNNING = "keep-running"
# The Job keeps in a Secret what the process writes to a file.
WRAPPED = {("python", "/job/first_keys.py"): ("auth-service", "bootstrap")}


@dataclass(frozen=True)
class Process:
    """One row of the process table: the name that it has everywhere, its command, what it reads."""

    name: str
    command: tuple[str, str]
    settings: type[Settings]


PROCESSES = (
    Process("auth-service", ("auth-service", "server"), auth.ServerSettings),
    Process("first-keys", ("auth-service", "bootstrap"), auth.BootstrapSettings),
    Process("id-service", ("id-service", "server"), ids.ServerSettings),
    Process("webhook", ("ingest-service", "webhook"), WebhookSettings),
    Process("relay", ("ingest-service", "relay"), RelaySettings),
    Process("lake-writer", ("ingest-service", "lake-writer"), LakeWriterSettings),
    Process("maintenance", ("ingest-service", "maintenance"), MaintenanceSettings),
    Process("query-service", ("query-service", "server"), query.ServerSettings),
)


def management_port(process: str) -> int:
    """Where the process of that name answers probes, without an offset."""
    if process in PROCESS_PORTS:
        return PROCESS_PORTS[process]
    return PORTS["ingest-service" if process == "webhook" else process].management_port


@dataclass(frozen=True)
class Deployed:
    """A process as one form of deployment has it. `environment` has a value where the form shows it."""

    command: tuple[str, ...]
    environment: Mapping[str, str | None]


@dataclass(frozen=True)
class Workload:
    """One pod template of an overlay."""

    kind: str
    name: str
    pod: Mapping[str, Any]

    @property
    def ends(self) -> bool:
        """Whether its process ends by itself."""
        return self.kind in ("Job", "CronJob")

    def containers(self) -> Iterator[Mapping[str, Any]]:
        """Those that start with the pod as well as those that start before it."""
        yield from self.pod.get("initContainers", ())
        yield from self.pod["containers"]


class Overlay:
    """The objects that kustomize makes of one overlay."""

    def __init__(self, name: str, objects: list[dict[str, Any]]) -> None:
        self.name = name
        self.objects = objects

    def of(self, kind: str) -> Iterator[dict[str, Any]]:
        """The objects of one kind."""
        return (thing for thing in self.objects if thing["kind"] == kind)

    def workloads(self) -> Iterator[Workload]:
        """Everything that has pods."""
        for thing in self.objects:
            if thing["kind"] in ("Deployment", "StatefulSet", "Job"):
                yield Workload(thing["kind"], thing["metadata"]["name"], thing["spec"]["template"]["spec"])
            elif thing["kind"] == "CronJob":
                template = thing["spec"]["jobTemplate"]["spec"]["template"]
                yield Workload("CronJob", thing["metadata"]["name"], template["spec"])

    def own_containers(self) -> Iterator[tuple[Workload, Mapping[str, Any]]]:
        """The containers that run images of this repository."""
        for workload in self.workloads():
            for container in workload.containers():
                if re.search(r"(^|/)millrace/", container["image"]):
                    yield workload, container

    def deployed(self) -> dict[str, Deployed]:
        """Its processes by name."""
        return {
            container["name"]: Deployed(
                _unwrapped(tuple(part for part in container["command"] if part != KEEP_RUNNING)),
                {variable["name"]: variable.get("value") for variable in container.get("env", ())},
            )
            for _, container in self.own_containers()
        }


def _unwrapped(command: tuple[str, ...]) -> tuple[str, ...]:
    return WRAPPED.get(command, command)


@pytest.fixture(scope="session")
def check_deployment() -> ModuleType:
    """scripts/check_deployment.py."""
    spec = importlib.util.spec_from_file_location("check_deployment", ROOT / "scripts/check_deployment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def overlays(check_deployment: ModuleType) -> dict[str, Overlay]:
    """Every overlay as built; skips where kustomize cannot be had, unless that is a failure."""
    try:
        command = check_deployment.kustomize()
    except check_deployment.MissingToolError as missing:
        if os.environ.get("MILLRACE_REQUIRE_REAL") == "1":
            raise
        pytest.skip(str(missing))
    return {
        name: Overlay(name, list(check_deployment.built(DEPLOY / "k8s/overlays" / name, command)))
        for name in OVERLAYS
    }


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest, overlays: dict[str, Overlay]) -> Overlay:
    """Each of them in turn."""
    return overlays[request.param]


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    """The compose file."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return content


@pytest.fixture(params=["systemd", "compose", *OVERLAYS])
def deployed(
    request: pytest.FixtureRequest, overlays: dict[str, Overlay], compose: dict[str, Any]
) -> dict[str, Deployed]:
    """The processes by name, in each form of deployment in turn."""
    match request.param:
        case "systemd":
            return _units()
        case "compose":
            return {
                name: Deployed(tuple(service["command"]), service.get("environment", {}))
                for name, service in compose["services"].items()
                if service["image"].startswith("millrace/")
            }
        case overlay:
            return overlays[overlay].deployed()


def _units() -> dict[str, Deployed]:
    found = {}
    for unit in (DEPLOY / "systemd").glob("millrace-*.service"):
        name = unit.stem.removeprefix("millrace-")
        program, *arguments = shlex.split(_key(unit, "ExecStart"))
        environment = DEPLOY / "systemd/environment" / Path(_key(unit, "EnvironmentFile")).name
        variables = (line.partition("=") for line in environment.read_text().splitlines() if "=" in line)
        found[name] = Deployed(
            (Path(program).name, *arguments),
            {variable.lstrip("# "): value for variable, _, value in variables},
        )
    return found


def _key(unit: Path, name: str) -> str:
    (line,) = (line for line in unit.read_text().splitlines() if line.startswith(f"{name}="))
    return line.partition("=")[2]
