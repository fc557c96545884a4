"""Settings of the maintenance process."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from ingest_service.coordination_settings import CoordinationSettings
from ingest_service.keep.limits import Limits
from millrace_runtime.tracing import TracingSettings


class MaintenanceSettings(CoordinationSettings, TracingSettings):
    """Environment of `ingest-service maintenance`."""

    data: Path = Field(description="data directory, whose `parquet` holds the lake")
    host: str = Field("0.0.0.0", description="address of the management port")  # noqa: S104 as the others
    port_offset: int = Field(0, ge=0, description="added to the management port")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")
    compact_above_files: int = Field(
        Limits().small_files, ge=1, description="small files of one partition that are too many"
    )
    vacuum_grace_hours: int = Field(
        Limits().grace_hours,
        ge=0,
        description="how long a file stays that no version needs; longer than the longest query",
    )
    vacuum_every_s: float = Field(
        Limits().vacuum_every_s, gt=0, description="seconds between two looks for such files"
    )
    maintenance_interval_s: float = Field(2.0, gt=0, description="seconds between two rounds")
    maintenance_lease_s: float = Field(15.0, gt=0, description="time to live of the lease")

    def limits(self) -> Limits:
        """The figures that maintenance acts on."""
        return Limits(
            small_files=self.compact_above_files,
            grace_hours=self.vacuum_grace_hours,
            vacuum_every_s=self.vacuum_every_s,
        )
