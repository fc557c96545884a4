"""Settings of the webhook door."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from millrace_ports.bus import journal_path
from millrace_ports.errors import ConfigurationError
from millrace_runtime.drain import DrainSettings
from millrace_runtime.peers import CallerSettings, PeerSetting
from millrace_runtime.service import PORTS
from millrace_runtime.tls import TlsSettings
from millrace_runtime.tracing import TracingSettings

_DEFAULTS = PORTS["ingest-service"]

Port = Annotated[int, Field(ge=1, le=65535)]
UrlPath = Annotated[str, Field(pattern=r"^/[^\s?#]*$")]
Level = Annotated[str, Field(pattern=r"^(DEBUG|INFO|WARNING|ERROR|CRITICAL)$")]


class WebhookSettings(TlsSettings, CallerSettings, TracingSettings, DrainSettings):
    """Field `webhook_port` is read from `MILLRACE_WEBHOOK_PORT`, and so on."""

    bus: str = Field(description="journal:PATH, PATH being the absolute path of the data directory")
    auth_url: PeerSetting | None = Field(
        default=None, description="host:port of auth-service's gRPC, for Publish; https://host:port by TLS"
    )
    port_offset: int = Field(default=0, ge=0, le=65535, description="added to every port")
    webhook_host: str = Field(default=_DEFAULTS.host, description="address to listen on")
    webhook_port: Port = Field(default=_DEFAULTS.http_port, description="port of the webhook")
    webhook_grpc_port: Port = Field(default=_DEFAULTS.grpc_port, description="port of gRPC Publish")
    webhook_management_port: Port = Field(
        default=_DEFAULTS.management_port, description="port of /live, /ready and /metrics"
    )
    webhook_path: UrlPath = Field(default="/webhook/wechat", description="route of the webhook")
    webhook_health_path: UrlPath = Field(default="/health", description="route of its health")
    webhook_log_file: Path | None = Field(
        default=None, description="absolute; default PATH/logs/wechat_webhook.log"
    )
    webhook_log_level: Level = Field(default="INFO", description="DEBUG, INFO, WARNING, ERROR or CRITICAL")
    webhook_log_max_size_mb: int = Field(
        default=100, gt=0, description="size at which the request log rotates"
    )
    webhook_log_backup_count: int = Field(default=10, ge=0, description="old request logs that are kept")
    webhook_max_body_mb: float | None = Field(
        default=None, gt=0, description="larger bodies are answered 413; no limit when not set"
    )
    webhook_service_name: str = Field(default="ingest-service", description="name in its log lines")
    webhook_service_version: str = Field(default="1.0.0", description="version that its health shows")
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

    @field_validator("webhook_log_file")
    @classmethod
    def _log_file_is_absolute(cls, value: Path | None) -> Path | None:
        if value is not None and not value.expanduser().is_absolute():
            raise ValueError("must be an absolute path")
        return value

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
        return (
            self.webhook_log_file.expanduser()
            if self.webhook_log_file
            else self.data / "logs" / "wechat_webhook.log"
        )

    @property
    def max_body_bytes(self) -> int | None:
        """Longest body taken, None = any."""
        limit = self.webhook_max_body_mb
        return None if limit is None else int(limit * 1024 * 1024)
