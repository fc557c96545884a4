"""Which commits of the tables are a batch's own: its data files, and its rows when the answer to it was lost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ingest_service.lake.log import Commit, LogUnavailableError, read_commit
from ingest_service.lake.tables import Lake
from ingest_service.land.batch import Batch, Counts
from ingest_service.land.lander import Standing
from ingest_service.land.positions import app_id

_ROWS = ("messages", "contacts", "other")


class Commits:
    """Follows the commits of one journal's batches."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._before: Mapping[str, int] = {}
        self.tried: Batch | None = None
        self.standing: Standing | None = None
        self.files: list[Path] = []

    def begin(self, batch: Batch, standing: Standing, versions: Mapping[str, int]) -> None:
        """A batch is about to be committed, with its partition standing there and the tables at these versions."""
        self.tried, self.standing, self._before, self.files = batch, standing, dict(versions), []

    def done(self, versions: Mapping[str, int], epoch: int) -> None:
        """It was committed in this epoch, with the tables at these versions now; `files` has what it added."""
        if self.tried is None:
            return
        span = self.tried.spans[0]
        app, end = app_id(span.partition, epoch), span.end
        for table in _ROWS:
            if table == "contacts" and not self.tried.contacts:
                continue
            for commit in self._since(table, versions[table]):
                # A contact has no position: its commits go by the lock that is held meanwhile.
                if table == "contacts" or commit.transactions.get(app) == end:
                    self.files += [self._lake.path(table) / file.path for file in commit.added]

    def counts_of(self, batch: Batch, epoch: int) -> Counts:
        """The sums of a batch that landed although its commit raised."""
        self.done({table: int(self._lake.open(table).version()) for table in _ROWS}, epoch)
        rows = 0
        for path in self.files:
            if path.is_relative_to(self._lake.path("messages")):
                with pa.OSFile(str(path)) as source:
                    rows += pq.read_metadata(source).num_rows
        counts = batch.counts
        counts.messages, counts.duplicates = rows, batch.messages.num_rows - rows
        return counts

    def _since(self, table: str, version: int) -> list[Commit]:
        found = []
        for number in range(self._before.get(table, version) + 1, version + 1):
            try:
                found.append(read_commit(self._lake.path(table), number))
            except LogUnavailableError:
                continue  # summed up by now, so not of a moment ago
        return found
