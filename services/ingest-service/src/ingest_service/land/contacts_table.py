"""The contacts table: one row per username; events are folded into the stored rows and merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError

from ingest_service.lake.archived import TableView, paths_of
from ingest_service.lake.tables import Lake
from ingest_service.land import contacts
from ingest_service.land.fold import folded
from ingest_service.land.held import ATTEMPTS, HOOKS, HeldTable, LostRaceError
from millrace_schemas import datasets

FOLD = "contacts/fold"
"""Advanced by every commit that changes what a fold may read of the lake."""


class ContactsTable:
    """Rows move under a counter of their own: of two folds at the same time one reads and merges again."""

    def __init__(self, lake: Lake) -> None:
        self._table = HeldTable(lake, "contacts")
        self._archive = TableView(lake.archive.path("contacts"))
        self._properties = lake.properties("contacts")
        self._schema = datasets.load("contacts").arrow_schema()

    @property
    def version(self) -> int:
        """Version of the held handle."""
        return self._table.version

    def merge(self, events: Sequence[contacts.Event]) -> None:
        """Brings the rows of these events up to date. Repeating it, or an older event, changes nothing."""
        names = sorted({event.username for event in events})
        for _ in range(ATTEMPTS):
            self._table.refresh()
            # Read with the same handle that commits: a fold in between makes the commit fail.
            fold = self._table.transaction(FOLD) or 0
            changed = folded(self._stored(names), events)
            if not changed:
                return
            try:
                self._commit(list(changed.values()), fold + 1)
            except CommitFailedError:
                self._table.reopen()
                continue
            except DeltaError:
                self._table.reopen()
                raise
            return
        raise LostRaceError(f"contacts: lost {ATTEMPTS} races in a row")

    def _commit(self, rows: list[contacts.Row], fold: int) -> None:
        merge = self._table.handle.merge(
            pa.Table.from_pylist([_dated(row) for row in rows], schema=self._schema),
            predicate="t.username = s.username",
            source_alias="s",
            target_alias="t",
            writer_properties=self._properties,
            commit_properties=CommitProperties(app_transactions=[Transaction(FOLD, fold)]),
            post_commithook_properties=HOOKS,
        )
        merge.when_matched_update_all().when_not_matched_insert_all().execute()

    def _stored(self, names: list[str]) -> Mapping[str, contacts.Row]:
        """The rows of these contacts. One that is in the lake is newer than an archived one, and wins; the archive is
        looked at behind it, and a row that is moved in between makes the commit fail, by the counter of folds."""
        found = self._rows(names, paths_of(self._table.handle))
        absent = [name for name in names if name not in found]
        if absent and (archived := self._archive.handle()) is not None:
            found |= self._rows(absent, paths_of(archived))
        return found

    def _rows(self, names: list[str], paths: Sequence[str]) -> dict[str, contacts.Row]:
        wanted = pa.array(names, pa.string())
        columns = [name for name in self._schema.names if name not in datasets.PARTITION_COLUMNS]
        table = self._table.read(columns, pc.field("username").isin(wanted), paths)
        rows = table.set_column(
            table.schema.get_field_index("ingestion_time"),
            "ingestion_time",
            pc.divide(table.column("ingestion_time").cast(pa.int64()), 1_000_000),
        ).to_pylist()
        return {row["username"]: row for row in rows}


def _dated(row: contacts.Row) -> dict[str, Any]:
    """A contact row with its directory keys, ingestion_time in microseconds (LAKE-62)."""
    moment = np.datetime64(row["ingestion_time"], "s").item()
    return row | {
        "ingestion_time": row["ingestion_time"] * 1_000_000,
        "year": f"{moment:%Y}",
        "month": f"{moment:%m}",
        "day": f"{moment:%d}",
    }
