"""`other` and `dead_letters`: rows without a business key, one per origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from deltalake import Transaction

from ingest_service.lake.tables import Lake
from ingest_service.land.held import ATTEMPTS, HeldTable, LostRaceError
from ingest_service.land.positions import origins_app_id
from ingest_service.land.side import Mask, SideRows
from ingest_service.land.stored_origins import StoredOrigins
from millrace_ports.bus.port import Partition


@dataclass(frozen=True, slots=True)
class Claim:
    """Up to where a batch covers a partition.

    `repeated`: its records may stand in the table under other numbers, or of an epoch before. `before` and
    `after` are the app ids of the epochs around this one: another driver may be in one of them.
    """

    partition: Partition
    app: str
    end: int
    repeated: bool
    before: str | None = None
    after: str | None = None


class SideTable:
    """Its transactions say up to which record of a partition it holds rows; a batch adds only rows past that.

    Of relayed rows it adds only those whose origin it does not hold. These are added under a counter per door,
    so that of two writers that look at the same time one looks again.
    """

    def __init__(self, lake: Lake, name: str, content: Sequence[str]) -> None:
        """`content`: the columns that tell two rows of one origin apart, where a journal was replaced."""
        self._table = HeldTable(lake, name)
        self._stored = StoredOrigins(self._table, content)

    @property
    def version(self) -> int:
        """Version of the held handle."""
        return self._table.version

    def append(self, rows: SideRows, claims: Sequence[Claim]) -> int:
        """Adds the rows that the table does not hold yet; returns how many relayed ones it held by an earlier record.

        Raises:
            LostRaceError: too many other commits came in between.
            DeltaError, OSError: the commit failed; it may have landed, which a repeat will see.
        """
        for _ in range(ATTEMPTS):
            missing, repeats = self.missing(rows, claims)
            new = rows.take(missing)
            if not len(new) or self._table.append(new.table, self._transactions(new, claims)):
                return repeats
        raise LostRaceError(f"{self._table.name}: lost {ATTEMPTS} races in a row")

    def missing(self, rows: SideRows, claims: Sequence[Claim]) -> tuple[Mask, int]:
        """Which rows the table does not hold as of now, and how many relayed ones it holds by an earlier record.

        Raises LostRaceError when another driver has begun to read a partition anew.
        """
        self._table.refresh()
        late = [c for c in claims if c.after is not None and self._table.transaction(c.after) is not None]
        if late:
            raise LostRaceError(
                ", ".join(f"{c.partition.name}: read anew" for c in late), [c.partition for c in late]
            )
        past = np.zeros(len(rows), np.bool_)
        doubtful = np.zeros(len(rows), np.bool_)
        for claim in claims:
            here = rows.of(claim.partition) & (rows.numbers > self._held(claim))
            past |= here
            if claim.repeated or self._was_relayed(rows, here):
                doubtful |= here
        doubtful |= rows.relayed & past
        repeated = np.zeros(len(rows), np.bool_)
        repeated[doubtful] = self._stored.among(rows.take(doubtful).table)
        return past & ~repeated, int((repeated & rows.relayed).sum())

    def _held(self, claim: Claim) -> int:
        return self._table.transaction(claim.app) or 0

    def _was_relayed(self, rows: SideRows, here: Mask) -> bool:
        """Whether rows of a journal itself may have come by its relay before."""
        some = np.flatnonzero(here & ~rows.relayed)
        if not len(some):
            return False
        door = rows.table.column("src_door")[int(some[0])].as_py()
        return self._table.transaction(origins_app_id(door)) is not None

    def _transactions(self, new: SideRows, claims: Sequence[Claim]) -> list[Transaction]:
        transactions = [Transaction(c.app, c.end) for c in claims if self._held(c) < c.end]
        # Whoever is still in the epoch before may add the same rows: of the two commits only one can win.
        transactions += [
            Transaction(c.before, self._table.transaction(c.before) or 0) for c in claims if c.before
        ]
        doors = new.table.column("src_door").to_pylist()
        relayed = {door for door, came in zip(doors, new.relayed, strict=True) if came}
        relayed |= {door for door in set(doors) if self._table.transaction(origins_app_id(door)) is not None}
        for door in sorted(relayed):
            app = origins_app_id(door)
            transactions.append(Transaction(app, (self._table.transaction(app) or 0) + 1))
        return transactions
