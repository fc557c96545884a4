"""What to do when Kafka has removed records that the lake does not hold: told to a person, who decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ingest_service.land.authority import LandingPositions
from millrace_ports.bus.port import Consumer, Partition
from millrace_ports.errors import ConfigurationError, PortError, RecordsLostError
from millrace_runtime.clock import Clock

PAST_LOSS = "MILLRACE_LAND_PAST_LOSS"
REPLAY = "ingest-service replay"

_LOOKED_FOR_S = 3.0
_POLL_S = 0.2
_MANY = 1 << 20


@dataclass(frozen=True, slots=True)
class Loss:
    """Records after `position` up to `last` of a partition are gone.

    `relayed` is the highest origin, day and line, of each door that the lake has had by this partition.
    """

    partition: str
    position: int
    last: int
    relayed: Mapping[str, tuple[str, int]]


async def losses(
    topic: str, first: RecordsLostError, consumer: Consumer, positions: LandingPositions, clock: Clock
) -> list[Loss]:
    """This loss, and those in other partitions of the consumer, which are looked for a moment.

    Positions stay as they are; what is read meanwhile is dropped, so nothing may be landed after it.
    """
    found: dict[str, RecordsLostError] = {}
    lost: RecordsLostError | None = first
    until = clock.monotonic() + _LOOKED_FOR_S
    while clock.monotonic() < until:
        if lost is not None:
            found[lost.partition] = lost
            positions.presume(lost.partition, lost.first_available - 1)
            await consumer.reset(Partition(topic, lost.partition))
            lost = None
        try:
            await consumer.poll(max_records=_MANY, max_bytes=_MANY, timeout_s=_POLL_S)
        except RecordsLostError as more:
            lost = more
        except PortError:
            break
    return [
        Loss(
            name,
            error.position,
            error.first_available - 1,
            await positions.relayed(Partition(topic, name)),
        )
        for name, error in sorted(found.items())
    ]


def advice(topic: str, losses: Sequence[Loss]) -> str:
    """What was lost, the commands that bring it back from the journals, and how to go on."""
    gone = [f"  {loss.partition}: records {loss.position + 1} to {loss.last}" for loss in losses]
    doors = _earliest(losses)
    commands = [
        f"  {REPLAY} --door {door} --from {day.partition('#')[0]}:{line}"
        for door, (day, line) in doors.items()
    ]
    past = ",".join(f"{loss.partition}@{loss.last}" for loss in losses)
    return "\n".join(
        [
            f"MILLRACE_BUS: records of topic {topic} are gone from Kafka before they were landed:",
            *gone,
            "Nothing is skipped by itself. Send the journal lines again, at each door:",
            *commands,
            f"  a door that is not named here: {REPLAY} --from the day of its first journal",
            "Rows that the lake holds already stay as they are. What other producers had published is lost, unless",
            "they send it again. Then start this process once more with",
            f"  {PAST_LOSS}={past}",
        ]
    )


def past_loss(text: str) -> dict[str, int]:
    """Partition name -> last lost record, of `<topic id>/<partition>@<number>[,…]`.

    Raises ConfigurationError that names the setting.
    """
    found: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.rpartition("@")
        topic_id, _, partition = name.rpartition("/")
        if not topic_id or not partition.isdecimal() or not number.isdecimal():
            raise ConfigurationError(
                f"{PAST_LOSS}: expected <topic id>/<partition>@<record number>[,…], as this process has printed it"
            )
        found[name] = int(number)
    return found


def _earliest(losses: Sequence[Loss]) -> dict[str, tuple[str, int]]:
    """Of each door the first line that may have been lost: the lowest of its marks in the partitions concerned.

    The line of the mark itself is sent again too, for elements of it that came after.
    """
    doors: dict[str, tuple[str, int]] = {}
    for loss in losses:
        for door, mark in loss.relayed.items():
            doors[door] = min(mark, doors.get(door, mark))
    return dict(sorted(doors.items()))
