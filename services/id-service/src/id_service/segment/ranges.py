"""Ranges of ids: what a row owns, what a process holds."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

DATACENTERS = 8
_BLOCK = 10**12


@dataclass(frozen=True, slots=True)
class IdRange:
    """The ids first, first + 1, ..., last; never empty."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.last:
            raise ValueError(f"no range: {self.first}..{self.last}")

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.last + 1))


def datacenter_range(datacenter_id: int) -> IdRange:
    """What data centre 0..7 owns of every tag: [(d+1) x 10^12, (d+2) x 10^12 - 1] (ID-18)."""
    if not 0 <= datacenter_id < DATACENTERS:
        raise ValueError(f"datacenter_id {datacenter_id} is outside 0..{DATACENTERS - 1}")
    return IdRange((datacenter_id + 1) * _BLOCK, (datacenter_id + 2) * _BLOCK - 1)


def datacenter_of(number: int) -> int | None:
    """The data centre whose range holds `number`; None outside all of them."""
    datacenter_id = number // _BLOCK - 1
    return datacenter_id if 0 <= datacenter_id < DATACENTERS else None


class Held:
    """Ids that are allocated to this process and not yet issued, lowest first.

    An id leaves it once and never comes back. Not for use by two threads.
    """

    __slots__ = ("_count", "_ranges")

    def __init__(self) -> None:
        self._ranges: deque[IdRange] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, allocated: IdRange) -> None:
        """Hold a newly allocated range; it must lie above all that is held (ID-4)."""
        if self._ranges and allocated.first <= self._ranges[-1].last:
            raise ValueError(f"{allocated} does not lie above {self._ranges[-1]}")
        self._ranges.append(allocated)
        self._count += len(allocated)

    def take(self, size: int) -> list[IdRange]:
        """Exactly the `size` >= 1 lowest ids. Raises ValueError, taking nothing, if fewer are held."""
        if not 1 <= size <= self._count:
            raise ValueError(f"{size} ids asked of {self._count}")
        taken: list[IdRange] = []
        missing = size
        while missing:
            head = self._ranges.popleft()
            if len(head) > missing:
                self._ranges.appendleft(IdRange(head.first + missing, head.last))
                head = IdRange(head.first, head.first + missing - 1)
            taken.append(head)
            missing -= len(head)
        self._count -= size
        return taken
