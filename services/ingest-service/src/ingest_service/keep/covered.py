"""Whether a journal may go by what is recorded of it: positions, checkpoint, offsets (ARCHITECTURE 4, rule 19)."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import msgspec

from ingest_service.land.positions import app_id, latest_epoch
from ingest_service.relay.positions import Place, places_of_door
from millrace_ports.bus.embedded import WEBHOOK_MESSAGES
from millrace_ports.bus.port import Partition


class _Checkpoint(msgspec.Struct):
    status: str


class _Reported(msgspec.Struct):
    position: int


class _Offsets(msgspec.Struct):
    partitions: dict[str, _Reported]


class Positions:
    """What lake, relay and consumers say of the journals of one door.

    Args:
        door: the identity of the journals' root.
        version: looks up an app id of the messages table, None when it has none.
        metadata: of the lake: checkpoints and offsets.
        relay: directory of the relay's positions: of the door's data directory.
    """

    def __init__(
        self, door: str, version: Callable[[str], int | None], metadata: pathlib.Path, relay: pathlib.Path
    ) -> None:
        self._door = door
        self._version = version
        self._metadata = metadata
        self._relayed = places_of_door(relay / f"{door}.json")

    def uncovered(self, day: str, lines: int) -> str | None:
        """Why the lake may not hold all of the journal, None when it does by its position."""
        if (place := self._relayed.get(day)) is not None:
            return self._unrelayed(place, lines)
        partition = Partition(WEBHOOK_MESSAGES, f"{self._door}/{day}")
        position = self._version(app_id(partition, latest_epoch(partition, self._version))) or 0
        if position < lines:
            return f"the lake holds {position} of its {lines} lines"
        return self._incomplete(day)

    def unread_by(self, day: str, lines: int) -> str | None:
        """The consumer that has not come to the end of the journal, None when all have.

        Behind a relay the consumers read Kafka, and what they report of journals is of an earlier time.
        """
        if day in self._relayed:
            return None
        for report in sorted((self._metadata / "offsets").glob(f"*/{WEBHOOK_MESSAGES}.json")):
            try:
                partitions = msgspec.json.decode(report.read_bytes(), type=_Offsets).partitions
            except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
                return f"what {report.parent.name} has read is not known: {report} is not readable"
            reported = partitions.get(f"{self._door}/{day}")
            if reported is None or reported.position < lines:
                at = 0 if reported is None else reported.position
                return f"consumer {report.parent.name} is at line {at} of {lines}"
        return None

    def _incomplete(self, day: str) -> str | None:
        # With its door in the name where another journal of the same day had the plain one first.
        checkpoints = self._metadata / "checkpoints"
        path = checkpoints / f"{day}@{self._door}_checkpoint.json"
        if not path.exists():
            path = checkpoints / f"{day}_checkpoint.json"
        try:
            status = msgspec.json.decode(path.read_bytes(), type=_Checkpoint).status
        except FileNotFoundError:
            return "its checkpoint is missing"
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return "its checkpoint is not readable"
        return None if status == "completed" else f"its checkpoint is {status}, not completed"

    def _unrelayed(self, place: Place, lines: int) -> str | None:
        if place.ends is None or place.line < lines:
            return f"the relay has sent {place.line} of its {lines} lines" + (
                "" if place.line < lines else " and not closed it"
            )
        if not place.ends:
            return "the topic was made anew while it was relayed: nobody knows where its lines are"
        for name, end in place.ends.items():
            held = self._version(app_id(Partition(WEBHOOK_MESSAGES, name), 0)) or 0
            if held < end:
                return f"the lake is at record {held} of {name}, its last line is before record {end}"
        return None
