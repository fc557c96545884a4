"""From a checked caller and a tag's name to ids."""

import re
from dataclasses import dataclass
from itertools import chain
from typing import Final

from id_service.catalog.cached import Catalog
from id_service.catalog.tag import NAME_PATTERN, Algorithm, Tag, TagName
from id_service.errors import invalid
from id_service.metrics import RequestMetrics
from id_service.router.access import require_generate
from id_service.router.algorithm import choose
from id_service.segment.ranges import IdRange
from id_service.segment.source import SegmentSource
from id_service.uuid.v7 import UuidV7
from millrace_runtime.auth import Principal
from millrace_runtime.clock import Clock
from millrace_runtime.errors import ServiceError

MAX_BLOCK: Final = 10_000_000
"""Most ids of one leased block."""

_NAME: Final = re.compile(NAME_PATTERN)


@dataclass(frozen=True, slots=True)
class Issued:
    """Ids of one algorithm, rising in list order. `at_ms`: Unix ms of the answer."""

    ids: list[str]
    algorithm: Algorithm
    at_ms: int


@dataclass(frozen=True, slots=True)
class Block:
    """Ids for an application to issue by itself. `at_ms`: Unix ms of the answer."""

    ranges: list[IdRange]
    at_ms: int


class Issuer:
    """Answers requests for ids, of every edge alike."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        segment: SegmentSource,
        uuid_v7: UuidV7,
        metrics: RequestMetrics,
        clock: Clock,
        datacenter_id: int,
        batch_max_size: int,
    ) -> None:
        self.batch_max_size = batch_max_size
        self._catalog = catalog
        self._segment = segment
        self._uuid_v7 = uuid_v7
        self._metrics = metrics
        self._clock = clock
        self._datacenter_id = datacenter_id

    async def issue(
        self, caller: Principal, name: TagName, *, size: int, algorithm: str | None, protocol: str
    ) -> Issued:
        """Exactly `size` ids of one algorithm (ID-5), 1 to `batch_max_size`.

        `algorithm` None or empty asks for the tag's own. `protocol` is a metric label.

        Raises:
            ServiceError: INVALID_REQUEST, FORBIDDEN, an unknown name (404), or the algorithm's own
                failure. No id is consumed then.
        """
        started = self._clock.monotonic()
        try:
            require_size(size, self.batch_max_size)
            tag = await self._tag(caller, name)
            chosen = choose(algorithm, tag)
            if chosen is Algorithm.SEGMENT:
                ids = written(tag, await self._segment.take(tag, size))
            else:
                ids = self._uuid_v7.take(size)
        except ServiceError as error:
            self._refused(error, protocol)
            raise
        self._answered(tag, chosen, size, started, protocol)
        return Issued(ids, chosen, self._clock.now_ms())

    async def lease(self, caller: Principal, name: TagName, *, size: int, protocol: str) -> Block:
        """`size` ids of a segment tag as ranges, 1 to `MAX_BLOCK`.

        They are on record as allocated before the answer, never expire and are never given out again.

        Raises:
            ServiceError: as `issue`; INVALID_REQUEST for a tag of another algorithm.
        """
        started = self._clock.monotonic()
        try:
            require_size(size, MAX_BLOCK)
            tag = await self._tag(caller, name)
            choose(Algorithm.SEGMENT, tag)
            ranges = await self._segment.take(tag, size)
        except ServiceError as error:
            self._refused(error, protocol)
            raise
        self._answered(tag, Algorithm.SEGMENT, size, started, protocol)
        return Block(ranges, self._clock.now_ms())

    async def _tag(self, caller: Principal, name: TagName) -> Tag:
        require_names(name)
        require_generate(caller, name.workspace)
        tag = await self._catalog.find(name, workspace_is_known=True)
        if self._datacenter_id not in tag.datacenter_ids:
            raise invalid("biz_tag", f"not served in data centre {self._datacenter_id}")
        return tag

    def _answered(self, tag: Tag, algorithm: Algorithm, size: int, started: float, protocol: str) -> None:
        self._metrics.answered(
            tag.name.workspace,
            tag.name.biz_tag,
            algorithm,
            datacenter_id=self._datacenter_id,
            protocol=protocol,
            ids=size,
            seconds=self._clock.monotonic() - started,
        )

    def _refused(self, error: ServiceError, protocol: str) -> None:
        self._metrics.refused(error.code.code, datacenter_id=self._datacenter_id, protocol=protocol)


def require_names(name: TagName) -> None:
    """Raise INVALID_REQUEST naming the first part that no resource can be called (ID-7)."""
    for field, text in (("workspace", name.workspace), ("group", name.group), ("biz_tag", name.biz_tag)):
        if not _NAME.fullmatch(text):
            raise invalid(field, "1-64 of A-Z a-z 0-9 . _ -, the first a letter or digit")


def require_size(size: int, limit: int) -> None:
    """Raise INVALID_REQUEST unless 1 <= size <= limit (ID-52)."""
    if not 1 <= size <= limit:
        raise invalid("size", f"must be 1 to {limit}")


def written(tag: Tag, ranges: list[IdRange]) -> list[str]:
    """The ids as the tag writes them: decimal, after the prefix of a `prefixed` tag (ID-21)."""
    return [f"{tag.prefix}{number}" for number in chain.from_iterable(ranges)]
