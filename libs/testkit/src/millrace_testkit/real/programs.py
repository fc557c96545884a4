"""Where the programs of the real servers are on this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from millrace_testkit.crash import ROOT

INSTALL = "run scripts/backends.sh (as root on Debian or Ubuntu; elsewhere it names what to install)"

KAFKA_JARS = ROOT / "build" / "kafka" / "lib"

KAFKA_CLASSES = ROOT / "build" / "kafka" / "kafka.jsa"
"""The broker's classes as a JVM keeps them, made by `kafka_classes`: a third of the time to start."""

_JAVA = 17
_SERVER_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))


class BackendMissingError(Exception):
    """A server is not installed here; the text says which, and how to install it."""

    def __init__(self, backend: str, lacks: str) -> None:
        super().__init__(f"{backend} is not installed ({lacks}): {INSTALL}")


def redis_server() -> str:
    """Path of `redis-server`. Raises BackendMissingError."""
    return _program("Redis", "redis-server")


def redis_cli() -> str:
    """Path of `redis-cli`, which comes with the server. Raises BackendMissingError."""
    return _program("Redis", "redis-cli")


def etcd() -> str:
    """Path of `etcd`. Raises BackendMissingError."""
    return _program("etcd", "etcd")


def promtool() -> str:
    """Path of `promtool`, which comes with Prometheus. Raises BackendMissingError."""
    return _program("Prometheus", "promtool")


def postgresql_bin() -> Path:
    """Directory of the newest PostgreSQL's programs. Raises BackendMissingError.

    Debian and Red Hat keep the server's programs off PATH, a directory per major version.
    """
    found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb"), *Path("/usr").glob("pgsql-*/bin/initdb")]
    if found:
        return max(found, key=_major).parent
    return Path(_program("PostgreSQL", "initdb")).resolve().parent


def kafka_class_path() -> str:
    """Class path of the Kafka broker. Raises BackendMissingError."""
    if not any(KAFKA_JARS.glob("kafka_2.13-*.jar")):
        raise BackendMissingError("Kafka", f"no jars in {KAFKA_JARS.relative_to(ROOT)}")
    return f"{KAFKA_JARS}/*"


@cache
def java() -> str:
    """Path of a Java runtime that can run Kafka 4. Raises BackendMissingError."""
    program = _program("Kafka", "java")
    said = subprocess.run(
        [program, "-version"], capture_output=True, text=True, check=False, timeout=30
    ).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < _JAVA:
        raise BackendMissingError(
            "Kafka", f"no Java {_JAVA} or later: `java -version` says {said.strip()[:80]!r}"
        )
    return program


def _program(backend: str, name: str) -> str:
    if found := shutil.which(name, path=_SERVER_PATH):
        return found
    raise BackendMissingError(backend, f"no {name} on PATH")


def _major(initdb: Path) -> int:
    digits = re.search(r"\d+", initdb.parent.parent.name)
    return int(digits[0]) if digits else 0
