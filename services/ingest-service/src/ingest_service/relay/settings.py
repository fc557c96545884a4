"""Settings of the relay and of replay."""

from pathlib import Path

from pydantic import Field, field_validator

from ingest_service.bus_settings import BusSettings
from ingest_service.objects import objects_path
from millrace_ports.errors import ConfigurationError
from millrace_runtime.tracing import TracingSettings


class RelayTarget(BusSettings):
    """Where journal lines come from and go to: what relay and replay have in common."""

    data: Path = Field(description="data directory of the door, whose journals are relayed")
    bus: str = Field(description="where records go: kafka://host:port[,host:port]")
    objects: str = Field(description="file:///PATH: where bodies go that are too large for the bus")
    relay_max_records: int = Field(10_000, ge=1, le=1_000_000, description="lines of one publish at most")
    relay_max_bytes: int = Field(8 << 20, ge=1 << 10, le=1 << 30, description="bytes of one publish at most")
    relay_max_record_bytes: int = Field(
        15 << 20,
        ge=1 << 10,
        le=1 << 30,
        description="largest value that is sent itself; must be below the topic's max.message.bytes",
    )

    @field_validator("bus")
    @classmethod
    def _bus_is_not_the_journal(cls, value: str) -> str:
        if value.startswith("journal:"):
            raise ValueError("a journal is relayed to kafka://; with journal:PATH the journal is the bus")
        return value

    @field_validator("objects")
    @classmethod
    def _objects_can_be_kept(cls, value: str) -> str:
        try:
            objects_path(value)
        except ConfigurationError as error:
            raise ValueError(str(error).removeprefix("MILLRACE_OBJECTS: ")) from None
        return value


class RelaySettings(RelayTarget, TracingSettings):
    """Environment of `ingest-service relay`."""

    host: str = Field("0.0.0.0", description="address of the management port")  # noqa: S104 as the others
    port_offset: int = Field(0, ge=0, le=14000, description="added to the management port")
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG to ERROR")
