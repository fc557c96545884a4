"""App ids of Delta transactions: where the lake stands in each partition (ARCHITECTURE 4, rule 1). Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

from millrace_ports.bus.port import Partition

GROUP = "lake-writer"
"""The consumer group to which lake writers report their positions; never where they go on from."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def is_journal(partition: Partition) -> bool:
    """Whether the partition is a day journal, `<door>/<YYYY-MM-DD>`; else it is Kafka's, `<topic id>/<number>`."""
    return _DAY.fullmatch(partition.name.rpartition("/")[2]) is not None


def app_id(partition: Partition, epoch: int) -> str:
    """Its version is the number of the last record that the lake holds.

    `lake/<door>/<YYYY-MM-DD>#<epoch>` for a journal, where a new epoch starts when it has fewer lines than its
    position; `lake/<topic id>/<number>` for Kafka, where a topic that replaces another has another id.
    """
    return f"lake/{partition.name}#{epoch}" if is_journal(partition) else f"lake/{partition.name}"


def handled_app_id(partition: Partition) -> str:
    """Its version is how many records of the partition were handled, over all epochs: what its checkpoint says.

    In the commit, so that no crash and no second driver makes it wrong.
    """
    return f"handled/{partition.name}"


def latest_epoch(partition: Partition, version: Callable[[str], int | None]) -> int:
    """The newest epoch that has a position, 0 when none has; `version` looks up an app id."""
    epoch = 0
    while is_journal(partition) and version(app_id(partition, epoch + 1)) is not None:
        epoch += 1
    return epoch


def mark_app_id(partition: Partition, door: str) -> str:
    """Its version is the highest origin of the door that came by this partition, as `marks.packed` gives it."""
    return f"{MARKS}{partition.name}/{door}"


MARKS = "relayed/"
"""What the app ids of all marks begin with."""


def origins_app_id(door: str) -> str:
    """Advanced by every commit of a side table that adds relayed rows of the door: of two that look for one
    origin at the same time and find it absent, only one can win."""
    return f"origins/{door}"


def dedup_app_id(bucket: int) -> str:
    """Advanced by every commit that adds keys to the bucket: two adders of one bucket cannot both win."""
    return f"dedup/{bucket}"
