"""The 64 bits of a snowflake id (ID-23): 0 | 42 bits ms | 3 bits dc | 8 bits worker | 10 bits sequence."""

from dataclasses import dataclass
from typing import Final

EPOCH_MS: Final = 1_704_067_200_000
"""2024-01-01T00:00:00Z."""

LARGEST: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class SnowflakeParts:
    """`at_ms` in Unix milliseconds."""

    at_ms: int
    datacenter_id: int
    worker_id: int
    sequence: int


def split(number: int) -> SnowflakeParts:
    """The parts of an id 1..2^63-1; a time in the future is read, not refused (ID-28)."""
    if not 1 <= number <= LARGEST:
        raise ValueError(f"{number} is not a positive 63-bit number")
    return SnowflakeParts(
        at_ms=(number >> 21) + EPOCH_MS,
        datacenter_id=(number >> 18) & 0x7,
        worker_id=(number >> 10) & 0xFF,
        sequence=number & 0x3FF,
    )
