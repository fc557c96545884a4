"""The scheduled jobs as data: `jobs.yaml`, checked (LAKE section 13)."""

from __future__ import annotations

import datetime
import functools
import importlib.resources
from typing import Annotated

import msgspec
from msgspec import Meta


class At(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a job runs, in UTC: every hour without `hour`, every day without `day`."""

    minute: Annotated[int, Meta(ge=0, le=59)]
    hour: Annotated[int, Meta(ge=0, le=23)] | None = None
    day: Annotated[int, Meta(ge=1, le=28)] | None = None

    @property
    def cron(self) -> str:
        """For Kubernetes."""
        hour = "*" if self.hour is None else self.hour
        return f"{self.minute} {hour} {'*' if self.day is None else self.day} * *"

    @property
    def calendar(self) -> str:
        """For systemd."""
        day = "*" if self.day is None else f"{self.day:02}"
        hour = "*" if self.hour is None else f"{self.hour:02}"
        return f"*-*-{day} {hour}:{self.minute:02}:00 UTC"


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One command line of `millrace storage`."""

    command: Annotated[list[str], Meta(min_length=1)]
    fine: list[int] = []
    lands: bool = False

    def arguments(self, today: datetime.date) -> list[str]:
        """The command line, run on that UTC day."""
        yesterday = (today - datetime.timedelta(days=1)).isoformat()
        return [part.replace("{yesterday}", yesterday) for part in self.command]


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A job: when it runs and what it does, in order."""

    name: Annotated[str, Meta(pattern="^[a-z]+$")]
    description: str
    at: At
    steps: Annotated[list[Step], Meta(min_length=1)]
    after_boot_s: int = 0
    random_delay_s: int = 0


class Jobs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of them, and what each may use at most."""

    memory_mb: int
    cpu_percent: int
    jobs: list[Job]

    @property
    def by_name(self) -> dict[str, Job]:
        """The jobs by name, in their order."""
        return {job.name: job for job in self.jobs}


@functools.cache
def load() -> Jobs:
    """The jobs of an installation."""
    import yaml

    text = importlib.resources.files(__package__).joinpath("jobs.yaml").read_text("utf-8")
    return msgspec.convert(yaml.safe_load(text), Jobs)
