"""The lake as the authority on positions, towards the bus."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Mapping

from ingest_service.lake.log import LogUnavailableError
from ingest_service.land.lander import Lander
from ingest_service.land.positions import is_journal
from millrace_ports.bus.port import Partition
from millrace_ports.errors import PositionError
from millrace_runtime.logs import get_logger

log = get_logger(__name__)


class LandingPositions:
    """`millrace_ports.bus.Positions`. The lander is used in `executor`'s thread alone.

    `past_loss` is where to go on, by partition name, when everything up to there was lost and somebody has said so.
    `begun` is told of each partition and where it is read from.
    """

    def __init__(
        self,
        lander: Lander,
        executor: concurrent.futures.Executor,
        past_loss: Mapping[str, int],
        begun: Callable[[Partition, int], None] = lambda _partition, _position: None,
    ) -> None:
        self._lander = lander
        self._executor = executor
        self._past_loss = past_loss
        self._begun = begun
        self._presumed: dict[str, int] = {}
        self._asked = False

    @property
    def asked(self) -> bool:
        """Whether the bus ever had a partition to ask about."""
        return self._asked

    def presume(self, partition: str, number: int) -> None:
        """From now on says that it starts there, without moving the lake's position: to look at what is behind."""
        self._presumed[partition] = number

    async def start(self, partition: Partition) -> int:
        """The last record that the lake holds."""
        self._asked = True
        if partition.name in self._presumed:
            return self._presumed[partition.name]
        loop = asyncio.get_running_loop()
        number = self._past_loss.get(partition.name, 0)
        position = await loop.run_in_executor(self._executor, self._lander.skip, partition, number)
        if position == number > 0:
            log.warning("went_past_loss", partition=partition.name, number=number)
        await loop.run_in_executor(self._executor, self._begun, partition, position)
        return position

    async def relayed(self, partition: Partition) -> Mapping[str, tuple[str, int]]:
        """Day and line of the highest origin of each door that has come by this partition, as far as it is known."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._executor, self._lander.relayed, partition)
        except (LogUnavailableError, OSError) as error:
            log.warning("marks_not_readable", error=str(error))
            return {}

    async def truncated(self, partition: Partition, position: int, available: int) -> int:
        """A journal with fewer lines than its position is read again from line 1 (LAKE-70)."""
        if not is_journal(partition):
            raise PositionError(f"{partition.name} has {available} records, and the lake holds {position}")
        log.error("journal_replaced", partition=partition.name, position=position, lines=available)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._lander.restart, partition)
