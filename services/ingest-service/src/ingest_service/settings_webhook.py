"""Settings of the webhook door.

Those that the LAKE sheet names (2.1) are also read by its names: `WEBHOOK_` and the sheet's word. Where both are
set, ours counts.
"""

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AliasChoices, Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from ingest_service.accept.guard import Guard
from ingest_service.accept.sources import load_guards
from millrace_ports.bus import journal_path
from millrace_ports.errors import ConfigurationError
from millrace_runtime.drain import DrainSettings
from millrace_runtime.peers import CallerSettings, PeerSetting
from millrace_runtime.service import PORTS
from millrace_runtime.settings import SettingsError
from millrace_runtime.tls import TlsSettings
from millrace_runtime.tracing import TracingSettings

_DEFAULTS = PORTS["ingest-service"]

SHEET_PREFIX: Final = "WEBHOOK_"

Port = Annotated[int, Field(ge=1, le=65535)]
UrlPath = Annotated[str, Field(pattern=r"^/[^\s?#]*$")]
Level = Annotated[str, Field(pattern=r"^(DEBUG|INFO|WARNING|ERROR|CRITICAL)$")]


def _named(ours: str, sheet: str) -> AliasChoices:
    return AliasChoices(f"MILLRACE_WEBHOOK_{ours}", f"{SHEET_PREFIX}{sheet}")


class WebhookSettings(TlsSettings, CallerSettings, TracingSettings, DrainSettings):
    """Field `webhook_port` is read from `MILLRACE_WEBHOOK_PORT`, else from the sheet's `WEBHOOK_PORT`, and so on."""

    model_config = SettingsConfigDict(populate_by_name=True)

    bus: str = Field(description="journal:PATH, PATH being the absolute path of the data directory")
    auth_url: PeerSetting | None = Field(
        default=None, description="host:port of auth-service's gRPC, for Publish; https://host:port by TLS"
    )
    port_offset: int = Field(default=0, ge=0, le=65535, description="added to every port")
    webhook_host: str = Field(
        default=_DEFAULTS.host, validation_alias=_named("HOST", "HOST"), description="address to listen on"
    )
    webhook_port: Port = Field(
        default=_DEFAULTS.http_port,
        validation_alias=_named("PORT", "PORT"),
        description="port of the webhook",
    )
    webhook_grpc_port: Port = Field(default=_DEFAULTS.grpc_port, description="port of gRPC Publish")
    webhook_management_port: Port = Field(
        default=_DEFAULTS.management_port, description="port of /live, /ready and /metrics"
    )
    webhook_path: UrlPath = Field(
        default="/webhook/wechat",
        validation_alias=_named("PATH", "WEBHOOK_PATH"),
        description="route of the webhook",
    )
    webhook_health_path: UrlPath = Field(
        default="/health",
        validation_alias=_named("HEALTH_PATH", "HEALTH_CHECK_PATH"),
        description="route of its health",
    )
    webhook_log_file: Path = Field(
        default=Path("logs/wechat_webhook.log"),
        validation_alias=_named("LOG_FILE", "LOG_FILE"),
        description="request log; below the data directory unless absolute",
    )
    webhook_log_level: Level = Field(
        default="INFO",
        validation_alias=_named("LOG_LEVEL", "LOG_LEVEL"),
        description="DEBUG, INFO, WARNING, ERROR or CRITICAL",
    )
    webhook_log_max_size_mb: int = Field(
        default=100,
        gt=0,
        validation_alias=_named("LOG_MAX_SIZE_MB", "LOG_MAX_SIZE_MB"),
        description="size at which the request log rotates",
    )
    webhook_log_backup_count: int = Field(
        default=10,
        ge=0,
        validation_alias=_named("LOG_BACKUP_COUNT", "LOG_BACKUP_COUNT"),
        description="old request logs that are kept",
    )
    webhook_max_body_mb: float | None = Field(
        default=None,
        gt=0,
        validation_alias=_named("MAX_BODY_MB", "MAX_BODY_MB"),
        description="larger bodies are answered 413; no limit when not set",
    )
    webhook_service_name: str = Field(
        default="ingest-service",
        min_length=1,
        validation_alias=_named("SERVICE_NAME", "SERVICE_NAME"),
        description="name in its log lines",
    )
    webhook_service_version: str = Field(
        default="1.0.0",
        validation_alias=_named("SERVICE_VERSION", "SERVICE_VERSION"),
        description="version that its health shows",
    )
    webhook_sources_file: Path | None = Field(
        default=None,
        description="absolute path of a YAML file: more routes, and signatures that they ask for",
    )
    webhook_lake: Path | None = Field(
        default=None,
        description="absolute path of the lake (parquet): dead letters can be replayed at this door, by keys that "
        "may publish",
    )
    environment: Literal["development", "production"] = Field(
        default="development",
        validation_alias="IDGEN_ENV",
        description="production offers no gRPC reflection",
    )

    @field_validator("bus")
    @classmethod
    def _bus_is_a_journal(cls, value: str) -> str:
        try:
            journal_path(value)
        except ConfigurationError as error:
            raise ValueError(str(error).removeprefix("MILLRACE_BUS: ")) from None
        return value

    @field_validator("webhook_log_level", mode="before")
    @classmethod
    def _level_in_capitals(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("webhook_log_file")
    @classmethod
    def _log_file_stays_below_the_data(cls, value: Path) -> Path:
        value = value.expanduser()
        if not value.is_absolute() and ".." in value.parts:
            raise ValueError("must be absolute, or below the data directory")
        return value

    @field_validator("webhook_sources_file")
    @classmethod
    def _sources_file_is_absolute(cls, value: Path | None) -> Path | None:
        if value is not None and not value.expanduser().is_absolute():
            raise ValueError("must be an absolute path")
        return value

    @field_validator("webhook_lake")
    @classmethod
    def _lake_is_absolute(cls, value: Path | None) -> Path | None:
        if value is not None and not value.expanduser().is_absolute():
            raise ValueError("must be an absolute path")
        return None if value is None else value.expanduser()

    @model_validator(mode="after")
    def _paths_differ(self) -> Self:
        if self.webhook_path == self.webhook_health_path:
            raise ValueError("MILLRACE_WEBHOOK_PATH and MILLRACE_WEBHOOK_HEALTH_PATH must differ")
        return self

    @property
    def data(self) -> Path:
        """The data directory."""
        return journal_path(self.bus)

    @property
    def log_file(self) -> Path:
        """The request log."""
        return self.data / self.webhook_log_file

    @property
    def max_body_bytes(self) -> int | None:
        """Longest body taken, None = any."""
        limit = self.webhook_max_body_mb
        return None if limit is None else int(limit * 1024 * 1024)

    def guards(self) -> dict[str, Guard | None]:
        """What stands before the route of each configured source. Raises SettingsError that names file and key."""
        if self.webhook_sources_file is None:
            return {}
        file = self.webhook_sources_file.expanduser()
        guards = load_guards(file)
        if self.webhook_health_path in guards:
            raise SettingsError(
                f"{file}: the path {self.webhook_health_path} is that of MILLRACE_WEBHOOK_HEALTH_PATH"
            )
        return guards
