"""The versions of each schema, in one JSON file (LAKE-80): `{"message_content": [version 1, version 2, …], …}`."""

from __future__ import annotations

import dataclasses
import fcntl
import pathlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import pyarrow as pa

from ingest_service.errors import BadArgumentError, BadDataError, storage_errors
from ingest_service.lake.durable import write_durably
from ingest_service.registry.compare import Comparison, compare, file_columns
from ingest_service.registry.types import read, written
from millrace_schemas import datasets

FILE: Final = "schema_registry.json"
MESSAGE_CONTENT: Final = "message_content"
CONTACT_SYNC: Final = "contact_sync"
DATASETS: Final = {MESSAGE_CONTENT: "messages", CONTACT_SYNC: "contacts"}
"""The sheet's schema names, and the datasets whose columns they describe."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_encoder = msgspec.json.Encoder()


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A registered version of a schema."""

    schema_name: str
    version: int
    schema: pa.Schema
    description: str
    registered_at: datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Listed:
    """A version in the list of its schema."""

    version: int
    description: str
    registered_at: datetime


def built_in(name: str) -> pa.Schema:
    """The columns of the files that this release writes; KeyError for a name that is not the sheet's."""
    return file_columns(datasets.load(DATASETS[name]).arrow_schema())


class SchemaRegistry:
    """The registry below a `metadata` directory. Processes may register at the same time: one after the other."""

    def __init__(
        self, metadata: pathlib.Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.path = metadata / FILE
        self._now = now

    def register(self, name: str, schema: pa.Schema, description: str = "") -> int:
        """The number of this version; the latest one's, if its field list is the same.

        Raises:
            BadArgumentError: the name, or a schema without fields or with one name twice.
            BadDataError: the registry cannot be read. StorageError: or not be written.
        """
        if not _NAME.fullmatch(name):
            raise BadArgumentError(
                f"schema name {name!r}: small letters, digits and _, beginning with a letter"
            )
        fields = [written(field) for field in schema]
        if not fields or len({field["name"] for field in fields}) < len(fields):
            raise BadArgumentError(f"schema {name}: has no field, or one name twice")
        with storage_errors("register_schema", self.path), self._locked():
            content = self._content()
            versions = content.setdefault(name, [])
            if versions and versions[-1]["schema"]["fields"] == fields:
                return int(versions[-1]["version"])
            number = len(versions) + 1
            versions.append(
                {
                    "schema_name": name,
                    "version": number,
                    "schema": {"fields": fields},
                    "description": description,
                    "registered_at": self._now().astimezone(UTC).isoformat().replace("+00:00", "Z"),
                }
            )
            write_durably(self.path, [msgspec.json.format(_encoder.encode(content), indent=1), b"\n"])
            return number

    def register_built_in(self) -> dict[str, int]:
        """Registers what this release writes; the versions."""
        return {
            name: self.register(
                name, built_in(name), datasets.load(dataset).description.partition(" (LAKE")[0]
            )
            for name, dataset in DATASETS.items()
        }

    def names(self) -> tuple[str, ...]:
        """Names of which there are versions."""
        return tuple(sorted(self._read()))

    def get(self, name: str, version: int | None = None) -> Entry | None:
        """A version, or the latest; None if there is none."""
        for stored in reversed(self._read().get(name, [])):
            if version is None or stored["version"] == version:
                return self._entry(stored)
        return None

    def latest_version(self, name: str) -> int | None:
        """The highest version; None if there is none."""
        latest = self.get(name)
        return None if latest is None else latest.version

    def list_versions(self, name: str) -> list[Listed]:
        """All versions in order; none of a name that is not known."""
        entries = map(self._entry, self._read().get(name, []))
        return [Listed(entry.version, entry.description, entry.registered_at) for entry in entries]

    def compare(self, name: str, schema: pa.Schema, version: int | None = None) -> Comparison:
        """`schema` against a version, or the latest; where there is none, all fields are added."""
        entry = self.get(name, version)
        if entry is None and version is not None:
            raise BadArgumentError(f"version: schema {name} has no version {version}")
        return compare(None if entry is None else entry.schema, schema)

    def _entry(self, stored: dict[str, Any]) -> Entry:
        try:
            return Entry(
                stored["schema_name"],
                stored["version"],
                pa.schema([read(field) for field in stored["schema"]["fields"]]),
                stored["description"],
                datetime.fromisoformat(stored["registered_at"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadDataError(f"{self.path}: an entry cannot be read: {error}", source=self.path) from error

    def _read(self) -> dict[str, list[dict[str, Any]]]:
        with storage_errors("read_schema_registry", self.path):
            return self._content()

    def _content(self) -> dict[str, list[dict[str, Any]]]:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=dict[str, list[dict[str, Any]]])
        except FileNotFoundError:
            return {}
        except msgspec.MsgspecError as error:
            raise BadDataError(f"{self.path}: is no schema registry: {error}", source=self.path) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with (self.path.parent / f".{FILE}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
