"""The catalog as requests see it: from memory, at most two seconds old."""

from collections import OrderedDict
from typing import Final

from id_service.catalog.store import CatalogStore
from id_service.catalog.tag import Tag, TagName
from millrace_runtime.clock import Clock
from millrace_runtime.errors import ErrorCode, ServiceError

TTL_S: Final = 2.0
MAX_TAGS: Final = 10_000


class Catalog:
    """Known tags by name. A change in the database is seen within `TTL_S` (ID-48: 5 s).

    Only tags that exist are kept, the least recently used leaving first, so that made-up names cost
    no memory. While the database is down a tag that was ever read stays usable (ID-51).
    """

    def __init__(self, store: CatalogStore, clock: Clock, *, max_tags: int = MAX_TAGS) -> None:
        self._store = store
        self._clock = clock
        self._max_tags = max_tags
        self._tags: OrderedDict[TagName, tuple[Tag, float]] = OrderedDict()

    async def find(self, name: TagName, *, workspace_is_known: bool = False) -> Tag:
        """As `CatalogStore.find`, but DATABASE_UNAVAILABLE only for a tag that is not in memory."""
        kept = self._tags.get(name)
        if kept is not None:
            tag, read_at = kept
            if self._clock.monotonic() - read_at < TTL_S:
                self._tags.move_to_end(name)
                return tag
        read_at = self._clock.monotonic()
        try:
            tag = await self._store.find(name, workspace_is_known=workspace_is_known)
        except ServiceError as error:
            if kept is not None and error.code is ErrorCode.DATABASE_UNAVAILABLE:
                return kept[0]
            self._tags.pop(name, None)
            raise
        self._tags[name] = (tag, read_at)
        self._tags.move_to_end(name)
        if len(self._tags) > self._max_tags:
            self._tags.popitem(last=False)
        return tag
