"""Which algorithm answers a request (ID-30). No degradation yet: the chosen one answers or fails."""

from typing import Final

from id_service.catalog.tag import Algorithm, IdFormat, Tag
from id_service.errors import invalid

OFFERED: Final = frozenset({Algorithm.SEGMENT, Algorithm.UUID_V7})

_ALIASES: Final = {
    "uuidv7": Algorithm.UUID_V7,
    "uuid7": Algorithm.UUID_V7,
    "uuidv4": Algorithm.UUID_V4,
    "uuid4": Algorithm.UUID_V4,
}
_UUIDS: Final = frozenset({Algorithm.UUID_V7, Algorithm.UUID_V4})


def algorithm_named(text: str) -> Algorithm:
    """The algorithm of this name or alias, in any case. ServiceError INVALID_REQUEST if none."""
    name = text.lower()
    if name in _ALIASES:
        return _ALIASES[name]
    try:
        return Algorithm(name)
    except ValueError:
        raise invalid("algorithm", "not the name of an algorithm") from None


def choose(requested: str | None, tag: Tag) -> Algorithm:
    """The requested algorithm, else the tag's own. An empty request asks for none.

    Raises:
        ServiceError: INVALID_REQUEST when it is unknown, does not fit the tag's format, or is not
            offered.
    """
    algorithm = algorithm_named(requested) if requested else tag.algorithm
    if (algorithm in _UUIDS) != (tag.format is IdFormat.UUID):
        raise invalid("algorithm", f"{algorithm} does not fit format {tag.format} of the tag")
    if algorithm not in OFFERED:
        raise invalid("algorithm", f"{algorithm} is not offered here")
    return algorithm
