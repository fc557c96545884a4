"""One batch into the lake, exactly once (ARCHITECTURE 4).

The messages table is the authority: its transactions are the positions. contacts, other and dead_letters
are committed before it, each so that a repeat changes nothing; so a crash between two commits, or a writer
that was overtaken, leaves at worst work to be done again and never a row twice or a row less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ingest_service.lake.log import transactions_of
from ingest_service.lake.tables import Lake
from ingest_service.land import marks
from ingest_service.land.batch import Batch, Counts, Span
from ingest_service.land.contacts_table import ContactsTable
from ingest_service.land.held import LostRaceError
from ingest_service.land.index.index import KeyIndex
from ingest_service.land.messages_table import MessagesTable
from ingest_service.land.positions import app_id, handled_app_id, is_journal, latest_epoch, mark_app_id
from ingest_service.land.side import DeadLetter, dead_letter_rows
from ingest_service.land.side_table import Claim, SideTable
from millrace_ports.bus.port import Partition
from millrace_runtime.crash import crash_point


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the lake stands in a partition: the last record that it holds, in which epoch, and how many records
    were handled in all: elements of a batch singly, blank lines not, lines that were read anew again."""

    epoch: int
    line: int
    handled: int


class Lander:
    """Commits batches. One per process, used from one thread at a time.

    Args:
        lake: where the tables are.
        index: the key index of its messages table.
        reject: writes dead letters to the reject journal, durably, before they are committed.
        now_s: Unix seconds.
    """

    def __init__(
        self,
        lake: Lake,
        index: KeyIndex,
        *,
        reject: Callable[[Sequence[DeadLetter]], None],
        now_s: Callable[[], int],
    ) -> None:
        self._lake = lake
        self._reject = reject
        self._now_s = now_s
        self._messages = MessagesTable(lake, index)
        self._contacts = ContactsTable(lake)
        self._other = SideTable(lake, "other", ["payload"])
        self._dead = SideTable(lake, "dead_letters", ["body", "body_base64"])
        self._epochs: dict[Partition, int] = {}
        self._positions: dict[Partition, int] = {}

    def position(self, partition: Partition) -> int:
        """Last record of the partition that the lake holds; forgets what this process thought."""
        self._messages.refresh()
        epoch = latest_epoch(partition, self._messages.transaction)
        # An epoch that this process has begun may not have its first commit yet.
        self._epochs[partition] = max(epoch, self._epochs.get(partition, 0))
        self._positions[partition] = self._messages.transaction(self._app(partition)) or 0
        return self._positions[partition]

    def restart(self, partition: Partition) -> int:
        """The journal was replaced by one with fewer lines: begins a new epoch at line 0 (LAKE-70).

        When another process has noticed before and begun it, that epoch is gone on with.
        """
        self._messages.refresh()
        newest = latest_epoch(partition, self._messages.transaction)
        if newest > self._epochs.get(partition, 0):
            return self.position(partition)
        self._epochs[partition] = newest + 1
        self._positions[partition] = 0
        return 0

    def standing(self, partition: Partition) -> Standing:
        """Where the lake stands now; what this process thinks of it stays as it is."""
        self._messages.refresh()
        epoch = latest_epoch(partition, self._messages.transaction)
        return Standing(
            epoch,
            self._messages.transaction(app_id(partition, epoch)) or 0,
            self._messages.transaction(handled_app_id(partition)) or 0,
        )

    def skip(self, partition: Partition, number: int) -> int:
        """Moves the position to `number` if it is below: the records in between are lost, or landed another way.

        Returns the position. Raises DeltaError, OSError as `commit` does.
        """
        while (position := self.position(partition)) < number:
            app = self._app(partition)
            try:
                self._messages.move({app: (partition, position or None)}, {app: number})
            except LostRaceError:
                continue  # another writer has moved it, perhaps not as far
            self._positions[partition] = position = number
            break
        return position

    def relayed(self, partition: Partition) -> Mapping[str, tuple[str, int]]:
        """Day and line of the highest origin of each door that has come by this partition."""
        begin = mark_app_id(partition, "")
        return {
            app.removeprefix(begin): marks.unpacked(version)[:2]
            for app, version in transactions_of(self._lake.path("messages")).items()
            if app.startswith(begin)
        }

    def commit(self, batch: Batch, *, deduplicate: bool = True) -> Counts:
        """Lands a batch and returns its accounting (LAKE-61).

        Without `deduplicate`, messages are added whether their msg_id is stored or not.

        Raises:
            LostRaceError: another writer landed these records; read on from `position`.
            DeltaError, OSError: the lake cannot be written; read on from `position` when it can.
        """
        self._check(batch)
        claims = [self._claim(span) for span in batch.spans]
        dead = dead_letter_rows(batch.dead_letters, self._now_s())
        crash_point("BEFORE_REJECT_JOURNAL")
        if batch.dead_letters:
            missing, _ = self._dead.missing(dead, claims)
            if missing.any():
                self._reject([letter for letter, new in zip(batch.dead_letters, missing, strict=True) if new])
        crash_point("AFTER_REJECT_BEFORE_CONTACTS")
        if batch.contacts:
            self._contacts.merge(batch.contacts)
        crash_point("AFTER_CONTACTS_COMMIT_BEFORE_MESSAGES")
        repeated_others = self._other.append(batch.other, claims) if len(batch.other) else 0
        crash_point("AFTER_OTHER_COMMIT_BEFORE_MESSAGES")
        repeated_dead = self._dead.append(dead, claims) if len(dead) else 0
        crash_point("AFTER_DEAD_LETTERS_COMMIT_BEFORE_MESSAGES")
        expected = {
            self._app(span.partition): (span.partition, self._positions[span.partition] or None)
            for span in batch.spans
        }
        then = {self._app(span.partition): span.end for span in batch.spans}
        then |= {
            app: (self._messages.transaction(app) or 0) + span.counted
            for span in batch.spans
            for app in [handled_app_id(span.partition)]
        }
        then |= {
            app: mark for app, mark in batch.marks.items() if mark > (self._messages.transaction(app) or 0)
        }
        landed = self._messages.append(batch, expected, then, deduplicate=deduplicate)
        for span in batch.spans:
            self._positions[span.partition] = span.end
        counts = batch.counts
        counts.messages = landed
        counts.other -= repeated_others
        counts.rejected -= repeated_dead
        counts.duplicates = batch.messages.num_rows - landed + repeated_others + repeated_dead
        return counts

    def versions(self) -> dict[str, int]:
        """Version of each table; messages first, so that the others hold at least what it needs."""
        return {
            "messages": self._messages.version,
            "contacts": self._contacts.version,
            "other": self._other.version,
            "dead_letters": self._dead.version,
        }

    @property
    def index_size(self) -> int:
        """Distinct msg_ids stored."""
        return self._messages.index_size

    def close(self) -> None:
        """Saves the index where that helps the next start."""
        self._messages.save_index()

    def _check(self, batch: Batch) -> None:
        """Cheap early look: a batch that is late already must not touch any table."""
        self._messages.refresh()
        late: dict[Partition, str] = {}
        for span in batch.spans:
            epoch = latest_epoch(span.partition, self._messages.transaction)
            if epoch > self._epochs[span.partition]:
                # The journal was replaced and has grown again since this process looked: its lines are others.
                late[span.partition] = f"{span.partition.name}: the lake is in epoch {epoch}"
                continue
            stored = self._messages.transaction(self._app(span.partition)) or 0
            if not stored == self._positions.get(span.partition) == span.start:
                late[span.partition] = f"{span.partition.name}: the lake is at line {stored}"
        if late:
            raise LostRaceError("; ".join(late.values()), list(late))

    def _claim(self, span: Span) -> Claim:
        partition, epoch = span.partition, self._epochs[span.partition]
        return Claim(
            partition,
            self._app(partition),
            span.end,
            repeated=epoch > 0,
            before=app_id(partition, epoch - 1) if epoch else None,
            after=app_id(partition, epoch + 1) if is_journal(partition) else None,
        )

    def _app(self, partition: Partition) -> str:
        return app_id(partition, self._epochs[partition])
