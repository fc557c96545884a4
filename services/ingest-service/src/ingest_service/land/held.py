"""A table as a landing process holds it: one handle, and the transactions that it stands at.

A commit by this handle fails when one of its transactions was set by another commit since the handle was
refreshed: that is the compare-and-swap on which everything here rests (ARCHITECTURE 4, rule 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from ingest_service.lake.log import BATCH_KEY, LogUnavailableError, read_commit
from ingest_service.lake.tables import Lake
from millrace_ports.bus.port import Partition
from millrace_schemas import datasets

ATTEMPTS = 24
"""Lost races in a row before a batch is given up: each one means that another writer went on."""

# Old log entries are maintenance's to remove, not the hot path's.
HOOKS = PostCommitHookProperties(cleanup_expired_logs=False)


class LostRaceError(Exception):
    """Another writer moved the position of these partitions (none named: of some): drop what was read of them
    and read on from the lake's position."""

    def __init__(self, why: str, partitions: Sequence[Partition] = ()) -> None:
        super().__init__(why)
        self.partitions = frozenset(partitions)


class HeldTable:
    """One table of the lake. Used from one thread at a time."""

    def __init__(self, lake: Lake, name: str) -> None:
        self.lake = lake
        self.name = name
        self._properties = lake.properties(name)
        self.handle: DeltaTable = lake.open(name)
        self._versions: dict[str, int | None] = {}
        self._known = self.version

    @property
    def version(self) -> int:
        """Version of the held handle."""
        return int(self.handle.version())

    def refresh(self) -> None:
        """The handle at the newest version; a fresh one where the log entries in between are gone."""
        try:
            self.handle.update_incremental()
        except DeltaError:
            self.handle = self.lake.open(self.name)

    def transaction(self, app: str) -> int | None:
        """Version of an app id as of the held handle. Cached: asking the library costs 3 ms."""
        self._follow()
        if app not in self._versions:
            self._versions[app] = self.handle.transaction_version(app)
        return self._versions[app]

    def append(self, rows: pa.Table, transactions: Sequence[Transaction], batch: str | None = None) -> bool:
        """Commits the rows under these transactions; False when another commit has set one of them.

        `batch` names the commit in the log. After any error nothing is known of the commit but what the next
        `refresh` shows. Raises DeltaError, OSError.
        """
        metadata = None if batch is None else {BATCH_KEY: batch}
        try:
            write_deltalake(
                self.handle,
                rows,
                mode="append",
                writer_properties=self._properties,
                commit_properties=CommitProperties(
                    custom_metadata=metadata, app_transactions=list(transactions)
                ),
                post_commithook_properties=HOOKS,
            )
        except CommitFailedError:
            self.reopen()
            return False
        except DeltaError:
            self.reopen()
            raise
        return True

    def reopen(self) -> None:
        """A handle that knows nothing of what was tried."""
        self.handle = self.lake.open(self.name)

    def read(self, columns: Sequence[str], condition: pc.Expression, uris: Sequence[str]) -> pa.Table:
        """Rows of these data files that meet a condition, in the dataset's types (a MERGE writes string views)."""
        whole = datasets.load(self.name).arrow_schema()
        schema = pa.schema([whole.field(name) for name in columns])
        tables = [schema.empty_table()]
        for uri in uris:
            with pa.OSFile(uri.removeprefix("file://")) as source:
                rows = pq.ParquetFile(source).read(list(columns)).select(columns)
            tables.append(rows.cast(schema).filter(condition))
        return pa.concat_tables(tables)

    def _follow(self) -> None:
        """Takes over the transactions of the commits since the last look."""
        version = self.version
        if version == self._known:
            return
        try:
            if version < self._known:
                raise LogUnavailableError(f"{self.name}: version {version} came after {self._known}")
            for number in range(self._known + 1, version + 1):
                self._versions.update(read_commit(self.lake.path(self.name), number).transactions)
        except LogUnavailableError:
            self._versions.clear()
        self._known = version
