"""A second kind of driver: as a command run again and again, it lands what there is and ends."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from prometheus_client import CollectorRegistry

from ingest_service.compose_lake_writer import compose_lake_writer
from ingest_service.land.settings import LakeWriterSettings
from millrace_runtime.process import run
from millrace_testkit.progress import unlanded

_LOOK_EVERY_S = 0.05


async def main(stop: asyncio.Event) -> None:
    """Compose, land until level, leave; until told to stop."""
    settings = LakeWriterSettings.load()
    while not stop.is_set():
        async with compose_lake_writer(settings, registry=CollectorRegistry()):
            await asyncio.to_thread(_until_level, settings.data, stop)


def _until_level(data: Path, stop: asyncio.Event) -> None:
    while not stop.is_set() and unlanded(data):
        time.sleep(_LOOK_EVERY_S)  # the lander works in the loop meanwhile


if __name__ == "__main__":
    sys.exit(run(main))
