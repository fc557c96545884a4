"""Settings of the lake writer."""

from pathlib import Path

from pydantic import Field, field_validator

from ingest_service.bus_settings import BusSettings
from ingest_service.land.lost import past_loss
from ingest_service.objects import objects_path
from millrace_ports.errors import ConfigurationError
from millrace_runtime.settings import Settings
from millrace_runtime.tracing import TracingSettings


class MaskSettings(Settings):
    """What whoever lands reads: the lake writer, and the storage commands."""

    mask_at_ingest: bool = Field(
        False,
        description="1 hides telephone numbers and customInfo.detail before they are stored, for ever; journals "
        "and dead letters keep them",
    )


class LakeWriterSettings(MaskSettings, BusSettings, TracingSettings):
    """Environment of `ingest-service lake-writer`."""

    data: Path = Field(description="data directory: the lake and what landing keeps beside it")
    objects: str | None = Field(
        None, description="file:///PATH: where the relay keeps bodies too large for Kafka"
    )
    host: str = Field("0.0.0.0", description="address of the management port")  # noqa: S104 as the others
    port_offset: int = Field(0, ge=0, le=14000, description="added to every port")
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG to ERROR")
    land_max_rows: int = Field(20_000, ge=1, le=1_000_000, description="lines of one commit at most")
    land_max_bytes: int = Field(32 << 20, ge=1 << 10, le=1 << 30, description="bytes of one commit at most")
    land_interval_s: float = Field(
        0.2, ge=0, le=60, description="seconds between two commits that are not full"
    )
    index_snapshot_keys: int = Field(
        1_000_000, ge=1, description="new keys after which the key index is saved, at the least"
    )
    land_past_loss: str = Field(
        "",
        description="<topic id>/<partition>@<number>[,...]: go on after records that Kafka has lost, once they "
        "are replayed or given up; a lake writer that meets a loss prints the value",
    )

    @field_validator("land_past_loss")
    @classmethod
    def _losses_are_named(cls, value: str) -> str:
        try:
            past_loss(value)
        except ConfigurationError as error:
            raise ValueError(str(error).partition(": ")[2]) from None
        return value

    @field_validator("objects")
    @classmethod
    def _objects_can_be_read(cls, value: str | None) -> str | None:
        try:
            return value if value is None or objects_path(value) else None
        except ConfigurationError as error:
            raise ValueError(str(error).partition(": ")[2]) from None
