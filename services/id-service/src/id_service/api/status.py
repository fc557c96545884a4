"""What the service can do now (ID-50)."""

from dataclasses import dataclass

from prometheus_client import Gauge
from sqlalchemy.ext.asyncio import AsyncEngine

from id_service.catalog.tag import Algorithm
from id_service.database.connect import ping
from id_service.uuid.v7 import UuidV7
from millrace_runtime.errors import ServiceError


@dataclass(frozen=True, slots=True)
class Status:
    """Which algorithms can issue. Segment tags need the database once memory is used up."""

    database: bool
    uuid_v7: bool

    @property
    def algorithm(self) -> Algorithm | None:
        """The best algorithm that can issue; None when none can."""
        if self.database:
            return Algorithm.SEGMENT
        return Algorithm.UUID_V7 if self.uuid_v7 else None

    @property
    def name(self) -> str:
        """`healthy`, `degraded` without the database, `unhealthy` when nothing can issue."""
        if self.algorithm is None:
            return "unhealthy"
        return "healthy" if self.database and self.uuid_v7 else "degraded"


class StatusProbe:
    """Tries the database and the UUID generator."""

    def __init__(self, engine: AsyncEngine, uuid_v7: UuidV7, db_up: Gauge) -> None:
        self._engine = engine
        self._uuid_v7 = uuid_v7
        self._db_up = db_up

    async def status(self) -> Status:
        """The status now; never raises for what it tries."""
        database = await self._database_answers()
        self._db_up.set(database)
        return Status(database=database, uuid_v7=self._uuid_works())

    async def require_an_algorithm(self) -> None:
        """The service's readiness check: ready while any algorithm can issue (ID-50)."""
        if (await self.status()).algorithm is None:
            raise RuntimeError("no algorithm can issue ids")

    async def _database_answers(self) -> bool:
        try:
            await ping(self._engine)
        except ServiceError:
            return False
        return True

    def _uuid_works(self) -> bool:
        try:
            self._uuid_v7.take(1)
        except ServiceError:
            return False
        return True
