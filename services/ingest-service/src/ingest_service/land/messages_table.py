"""The messages table: rows, positions and key index move in one commit."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import numpy as np
from deltalake import Transaction

from ingest_service.lake.tables import Lake
from ingest_service.land.batch import Batch, Fresh, keep_first
from ingest_service.land.held import ATTEMPTS, HeldTable, LostRaceError
from ingest_service.land.index.index import KeyIndex, Pending
from ingest_service.land.positions import dedup_app_id
from millrace_ports.bus.port import Partition
from millrace_runtime.crash import crash_point


class MessagesTable:
    """The authority on positions, and the one row per msg_id."""

    def __init__(self, lake: Lake, index: KeyIndex) -> None:
        self._index = index
        self._table = HeldTable(lake, "messages")

    @property
    def version(self) -> int:
        """Version of the held handle."""
        return self._table.version

    @property
    def index_size(self) -> int:
        """Keys in the index."""
        return len(self._index)

    def refresh(self, pending: Pending | None = None) -> bool:
        """Catches handle, transactions and index up; returns whether the pending batch has landed."""
        self._table.refresh()
        return self._index.follow(self._table.handle, pending)

    def transaction(self, app: str) -> int | None:
        """Version of an app id as of the held handle."""
        return self._table.transaction(app)

    def append(
        self,
        batch: Batch,
        expected: Mapping[str, tuple[Partition, int | None]],
        then: Mapping[str, int],
        *,
        deduplicate: bool = True,
    ) -> int:
        """Commits the new messages of a batch together with its positions; returns how many rows were new.

        Args:
            batch: its messages are filtered by the index again at each attempt.
            expected: app id -> partition, and the version that it must have (None: absent) immediately before
                the write.
            then: app id -> version that the commit sets.
            deduplicate: keep of each msg_id only the row that was first; else all rows of the batch are new.

        Raises:
            LostRaceError: a position is not the expected one. Nothing of this batch is in the table.
            DeltaError, OSError: the commit failed for another reason; nothing is known of it, and the next
                `refresh` shows what the table holds.
        """
        pending: Pending | None = None
        for _ in range(ATTEMPTS):
            if self.refresh(pending) and pending is not None:
                return len(pending.keys)  # the attempt that raised had landed after all
            self._require(expected)
            fresh = self._fresh(batch) if deduplicate else Fresh(batch.messages, batch.keys, batch.days)
            pending = Pending(uuid.uuid4().hex, fresh.keys, fresh.days)
            # Refused, somebody else's commit touched a bucket or a position; whether ours landed shows the log.
            if self._table.append(fresh.table, self._transactions(fresh, then), pending.batch):
                crash_point("AFTER_COMMIT_BEFORE_INDEX")
                self._index.follow(self._table.handle, pending)
                return len(fresh.keys)
        raise LostRaceError(f"lost {ATTEMPTS} races in a row")

    def move(self, expected: Mapping[str, tuple[Partition, int | None]], then: Mapping[str, int]) -> None:
        """Commits positions alone. Raises as `append` does."""
        for _ in range(ATTEMPTS):
            self.refresh()
            self._require(expected)
            transactions = [Transaction(app, version) for app, version in then.items()]
            if self._table.append(self._table.handle.schema().to_arrow().empty_table(), transactions):
                return
        raise LostRaceError(f"lost {ATTEMPTS} races in a row")

    def save_index(self) -> None:
        """At a clean stop."""
        self._index.save_if_worthwhile()

    def _fresh(self, batch: Batch) -> Fresh:
        ids = batch.messages.column("msg_id").combine_chunks()
        return keep_first(batch, self._index.stored(ids, batch.keys, self._table.handle))

    def _require(self, expected: Mapping[str, tuple[Partition, int | None]]) -> None:
        lost = [
            (app, partition)
            for app, (partition, version) in expected.items()
            if self.transaction(app) != version
        ]
        if lost:
            raise LostRaceError(", ".join(app for app, _ in lost), [partition for _, partition in lost])

    def _transactions(self, fresh: Fresh, then: Mapping[str, int]) -> list[Transaction]:
        transactions = [Transaction(app, version) for app, version in then.items()]
        for bucket in np.unique(fresh.keys.buckets):
            app = dedup_app_id(int(bucket))
            transactions.append(Transaction(app, (self.transaction(app) or 0) + 1))
        return transactions
