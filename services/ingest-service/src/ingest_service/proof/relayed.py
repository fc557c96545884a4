"""By which partition of Kafka a row came, as far as the relay's positions and the lake's own tell."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass, field
from typing import Final

from ingest_service.lake.log import Commit
from ingest_service.land.marks import OriginRangeError, packed
from ingest_service.land.positions import MARKS
from ingest_service.proof.history import commits
from ingest_service.proof.stored import StoredRow
from ingest_service.relay.positions import Place, places_of_door
from millrace_ports.bus.embedded import WEBHOOK_MESSAGES
from millrace_ports.journal.root import day_in
from millrace_schemas import topics

_PARTITIONS: Final = topics.load(WEBHOOK_MESSAGES).partitions


@dataclass(slots=True)
class Relayed:
    """`topic` is the topic's id. Of `partition`, the record is one of the offsets `first_offset` to `last_offset`;
    `possible` are the partitions of which it is one where that is not known."""

    topic: str | None = None
    partition: int | None = None
    first_offset: int | None = None
    last_offset: int | None = None
    possible: list[int] = field(default_factory=list)


def foreign(row: StoredRow) -> Relayed | None:
    """Of a record that no door has read: its partition and offset are its origin. None for a line of a journal."""
    topic, _, number = row.src_door.rpartition("/")
    if day_in(row.src_file) is not None or not topic or not number.isdigit():
        return None
    return Relayed(topic, int(number), row.src_line - 1, row.src_line - 1)


def relayed(row: StoredRow, msg_id: str, metadata: pathlib.Path, landed: Commit | None) -> Relayed | None:
    """None when no relay has had this line, as far as is known here. Raises OSError."""
    place = _place(row, metadata)
    come = _partitions(row, landed)
    if place is None and not come:
        return None
    found = Relayed(place.topic or None if place is not None else None)
    if come:
        found.topic = next(iter(come)).rpartition("/")[0]
    possible = sorted(int(name.rpartition("/")[2]) for name in come)
    # As many partitions as there were when the journal was closed, else as the topic is made with.
    lane = _lane(msg_id, len(place.ends) if place is not None and place.ends else _PARTITIONS)
    if lane in possible or (place is not None and place.ends and not possible):
        possible = [lane]
    if len(possible) != 1:
        found.possible = possible
        return found
    found.partition = possible[0]
    name = f"{found.topic}/{found.partition}"
    if landed is not None and name in come:
        last = landed.transactions[f"lake/{name}"]
        found.first_offset, found.last_offset = _before(row.table, landed, name), last - 1
    return found


def _place(row: StoredRow, metadata: pathlib.Path) -> Place | None:
    """What the relay of the row's door says of its journal; None when it has not come to the line."""
    place = places_of_door(metadata / "relay" / f"{row.src_door}.json").get(day_in(row.src_file) or "")
    return place if place is not None and place.line >= row.src_line else None


def _partitions(row: StoredRow, landed: Commit | None) -> set[str]:
    """Partitions by which records of the row's door came with the commit that landed it, up to its origin or beyond."""
    if landed is None:
        return set()
    try:
        origin = packed(row.src_file.removesuffix(".jsonl"), row.src_line, row.src_element)
    except OriginRangeError:
        return set()
    suffix = f"/{row.src_door}"
    found = set()
    for app, mark in landed.transactions.items():
        if app.startswith(MARKS) and app.endswith(suffix) and mark >= origin:
            name = app.removeprefix(MARKS).removesuffix(suffix)
            if f"lake/{name}" in landed.transactions:
                found.add(name)
    return found


def _lane(msg_id: str, partitions: int) -> int:
    """The partition of the key that a relayed message has."""
    from millrace_ports.bus.kafka.partitioner import lanes_of

    return next(iter(lanes_of([msg_id.encode()], partitions, keyless=0)))


def _before(table: pathlib.Path, landed: Commit, name: str) -> int | None:
    """The offset at which the commit's records of that partition began; None when the log does not reach back."""
    app = f"lake/{name}"
    older = range(landed.version - 1, -1, -1)
    for commit in commits(table, app.encode(), older):
        if app in commit.transactions:
            return commit.transactions[app]
    return 0 if older and (table / "_delta_log" / f"{0:020d}.json").exists() else None
