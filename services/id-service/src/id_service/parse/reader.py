"""Parsing for a caller, with the help of the tag that the caller names."""

from id_service.catalog.cached import Catalog
from id_service.catalog.tag import TagName
from id_service.errors import invalid
from id_service.parse.read import ParsedId, read_id
from id_service.router.access import require_parse
from id_service.router.algorithm import algorithm_named
from id_service.router.issue import require_names
from millrace_runtime.auth import Principal


class Reader:
    """Answers requests to parse, of every edge alike."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def read(
        self, caller: Principal, text: str, *, name: TagName | None, algorithm: str | None
    ) -> ParsedId:
        """What the id `text` says of itself; with `name`, as an id of that tag.

        Raises:
            ServiceError: INVALID_REQUEST, FORBIDDEN, or an unknown name (404).
        """
        require_parse(caller, name.workspace if name else None)
        wanted = algorithm_named(algorithm) if algorithm else None
        if name is None:
            return read_id(text, algorithm=wanted)
        require_names(name)
        own = caller.workspace == name.workspace
        tag = await self._catalog.find(name, workspace_is_known=own)
        return read_id(text, tag=tag, algorithm=wanted)


def tag_name(workspace: str | None, group: str | None, biz_tag: str | None) -> TagName | None:
    """The tag that an optional triple names: all of it, or nothing at all.

    Raises:
        ServiceError: INVALID_REQUEST naming the first part that is missing.
    """
    parts = {"workspace": workspace or "", "group": group or "", "biz_tag": biz_tag or ""}
    if not any(parts.values()):
        return None
    for field, text in parts.items():
        if not text:
            raise invalid(field, "needed with the other names of the tag")
    return TagName(**parts)
