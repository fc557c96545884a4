"""The settings of every service, with the places that the data directory fixes."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

from auth_service.settings import AuthSettings
from id_service.settings import IdSettings
from ingest_service.keep.settings import MaintenanceSettings
from ingest_service.land.settings import LakeWriterSettings
from ingest_service.settings_webhook import WebhookSettings
from millrace_runtime.settings import Settings, report_unknown
from millrace_runtime.tracing import TracingSettings
from query_service.settings import QuerySettings
from standalone.data_directory import DataDirectory

# Set here and not by the environment: backends are embedded, ports come from the table and the offset.
FIXED = frozenset(
    {
        "MILLRACE_ARCHIVE",
        "MILLRACE_AUTH_DATABASE_URL",
        "MILLRACE_AUTH_URL",
        "MILLRACE_BUS",
        "MILLRACE_COORDINATION",
        "MILLRACE_CREDENTIALS_FILE",
        "MILLRACE_DRAIN_S",
        "MILLRACE_HOST",
        "MILLRACE_ID_DATABASE_URL",
        "MILLRACE_ID_SEED_DEMO",
        "MILLRACE_LAKE",
        "MILLRACE_TLS_CERT_FILE",
        "MILLRACE_TLS_KEY_FILE",
        "MILLRACE_WEBHOOK_GRPC_PORT",
        "MILLRACE_WEBHOOK_HOST",
        "MILLRACE_WEBHOOK_LAKE",
        "MILLRACE_WEBHOOK_MANAGEMENT_PORT",
        "MILLRACE_WEBHOOK_PORT",
    }
)
_ALL: tuple[type[Settings], ...] = (
    AuthSettings,
    IdSettings,
    WebhookSettings,
    LakeWriterSettings,
    MaintenanceSettings,
    QuerySettings,
    TracingSettings,
)


@dataclass(frozen=True, slots=True)
class StandaloneSettings:
    """One field per composed part."""

    auth: AuthSettings
    id: IdSettings
    webhook: WebhookSettings
    lake_writer: LakeWriterSettings
    maintenance: MaintenanceSettings
    query: QuerySettings
    tracing: TracingSettings

    @classmethod
    def load(cls, directory: DataDirectory) -> Self:
        """Every service's settings; SettingsError names each variable that is wrong."""
        bus = f"journal:{directory.root}"
        return cls(
            auth=AuthSettings.load(
                auth_database_url=_sqlite(directory.metadata / "auth.sqlite"),
                credentials_file=directory.credentials,
            ),
            id=IdSettings.load(id_database_url=_sqlite(directory.metadata / "ids.sqlite"), id_seed_demo=True),
            webhook=WebhookSettings.load(bus=bus, port_offset=0, webhook_lake=directory.lake),
            lake_writer=LakeWriterSettings.load(data=directory.root, bus=bus, port_offset=0),
            maintenance=MaintenanceSettings.load(
                data=directory.root, coordination=f"local:{directory.metadata / 'leases'}", port_offset=0
            ),
            query=QuerySettings.load(
                lake=f"file://{quote(str(directory.lake))}",
                archive=f"file://{quote(str(directory.root / 'archive'))}",
            ),
            tracing=TracingSettings.load(),
        )


def warnings(environ: Mapping[str, str] = os.environ) -> list[str]:
    """A line for each MILLRACE_* variable that has no effect; SettingsError for a misspelt one."""
    known = frozenset().union(*(part.names() for part in _ALL)) | FIXED
    return [
        *(
            f"{name} has no effect on `millrace up`: it keeps everything in the data directory"
            for name in sorted(FIXED & environ.keys())
        ),
        *report_unknown(environ, known),
    ]


def _sqlite(path: Path) -> str:
    return f"sqlite+aiosqlite:///{quote(str(path))}"
