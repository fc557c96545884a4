"""What the operations of LAKE section 6 return, with exactly the sheet's keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ingest_service.land.batch import Counts

MB = 1_000_000


def megabytes(size: int) -> float:
    """Bytes as MB (10^6), rounded to two places."""
    return round(size / MB, 2)


@dataclass(frozen=True, slots=True)
class IngestResult:
    """One run over one journal.

    `total_processed` are the lines read, of which `accounting` says what became of each (LAKE-61); `new_records`
    the messages among them, `deduplicated` those that were written. `checkpoint_offset` is the last line that
    the lake holds.
    """

    total_processed: int
    new_records: int
    deduplicated: int
    skipped_duplicates: int
    contacts_written: int
    other_written: int
    rejected: int
    checkpoint_offset: int
    checkpoint_updated: bool

    @property
    def accounting(self) -> Counts:
        """LAKE-61's sums: lines = blank + rejected + contacts + other + messages + duplicates."""
        taken = self.rejected + self.contacts_written + self.other_written + self.new_records
        return Counts(
            lines=self.total_processed,
            blank=self.total_processed - taken,
            rejected=self.rejected,
            contacts=self.contacts_written,
            other=self.other_written,
            messages=self.deduplicated,
            duplicates=self.skipped_duplicates,
        )


def ingest_result(counts: Counts, offset: int, *, updated: bool) -> IngestResult:
    """The result that these sums make."""
    return IngestResult(
        total_processed=counts.lines,
        new_records=counts.messages + counts.duplicates,
        deduplicated=counts.messages,
        skipped_duplicates=counts.duplicates,
        contacts_written=counts.contacts,
        other_written=counts.other,
        rejected=counts.rejected,
        checkpoint_offset=offset,
        checkpoint_updated=updated,
    )


@dataclass(frozen=True, slots=True)
class ConvertResult:
    """One journal converted; records are the rows written to messages, contacts and other."""

    source_file: str
    target_file: str
    target_files: list[str]
    total_records: int
    total_batches: int
    source_size_mb: float
    target_size_mb: float
    compression_ratio: float


@dataclass(frozen=True, slots=True)
class ConvertAllResult:
    """How many journals were converted, had nothing new, and could not be read."""

    converted: int
    skipped: int
    failed: int


@dataclass(frozen=True, slots=True)
class JournalReport:
    """One journal of a directory: `result` of its run and its rejects by their type (LAKE-91), or the error that kept
    it from being read."""

    journal: str
    result: IngestResult | None
    errors: Mapping[str, int] = field(default_factory=dict)
    error: str = ""
    error_type: str = ""
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class DirectoryReport:
    """All journals of a directory, oldest first; `repaired` has the damaged data files that were laid aside."""

    journals: list[JournalReport]
    repaired: list[str]

    @property
    def totals(self) -> Counts:
        """The sums of all journals."""
        totals = Counts()
        for journal in self.journals:
            if journal.result is not None:
                totals += journal.result.accounting
        return totals


@dataclass(frozen=True, slots=True)
class MessageResult:
    """One payload: where it is in the journal, and the rows that it made. `rows_written` is 0 for a repeat."""

    journal: str
    line: int
    dataset: str
    partition: str
    rows_written: int
    checkpoint_offset: int


@dataclass(frozen=True, slots=True)
class DeduplicateResult:
    """Rows before and after, over all days looked at."""

    total_records: int
    unique_records: int
    duplicates_removed: int
    files_processed: int
    partitions_processed: int
