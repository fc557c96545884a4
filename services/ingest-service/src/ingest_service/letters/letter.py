"""What a dead letter is, and which of them are meant. Pure but for reading the table's files."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingest_service.errors import BadArgumentError
from ingest_service.lake.archived import TableView, files_by_day
from ingest_service.lake.tables import Lake
from ingest_service.land import marks
from ingest_service.land.side import DEAD_LETTERS_SCHEMA
from ingest_service.land.stored_origins import files_that_may_hold
from millrace_ports.bus.port import Origin
from millrace_ports.journal.root import day_in, midnight_ms

TABLE: Final = "dead_letters"
_READ_ROWS: Final = 64  # bodies may be large
_GROUP_LETTERS: Final = 1000
_GROUP_BYTES: Final = 8 << 20
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True, order=True)
class LetterId:
    """The origin of a letter: as text `door/file/line/element`, as its `src_` columns say it."""

    door: str
    file: str
    line: int
    element: int

    def __str__(self) -> str:
        return f"{self.door}/{self.file}/{self.line}/{self.element}"

    @classmethod
    def parsed(cls, text: str) -> LetterId:
        """Raises BadArgumentError. A door may have slashes in its name, the other parts do not."""
        parts = text.rsplit("/", 3)
        if (
            len(parts) != 4
            or not all(parts)
            or not all(part.isascii() and part.isdigit() for part in parts[2:])
        ):
            raise BadArgumentError(f"{text[:200]!r} is no dead letter's id, door/file/line/element")
        line, element = int(parts[2][:20]), int(parts[3][:20])
        if not (0 < line < 2**63 and element < 2**31):
            raise BadArgumentError(f"{text[:200]!r}: there is no such line or element")
        return cls(parts[0], parts[1], line, element)


@dataclass(frozen=True, slots=True)
class Letter:
    """One row of dead_letters: the refused bytes, and when it was landed."""

    id: LetterId
    body: bytes
    error_type: str
    reason: str
    landed_at_ms: int

    @property
    def origin(self) -> Origin | None:
        """Its origin in a journal, None for a record that no door has read. The time of receipt is not in the row:
        that of its landing, within its day, stands for it."""
        day = day_in(self.id.file)
        if day is None:
            return None
        midnight = midnight_ms(day)
        received = min(max(self.landed_at_ms, midnight), midnight + _DAY_MS - 1)
        origin = Origin(self.id.door, day, self.id.line, self.id.element, received)
        return origin if self.id.line <= marks.LAST_LINE else None


@dataclass(frozen=True, slots=True)
class Selection:
    """Letters that meet every condition; None does not filter. `start` and `end` are the UTC days of landing, both
    included; of the others any value of a list will do."""

    ids: Sequence[LetterId] | None = None
    start: datetime.date | None = None
    end: datetime.date | None = None
    error_types: Sequence[str] | None = None
    reasons: Sequence[str] | None = None
    doors: Sequence[str] | None = None
    files: Sequence[str] | None = None


def count(lake: Lake, wanted: Selection) -> int:
    """How many are meant. Raises DeltaError, OSError."""
    return sum(len(letters) for letters in _letters(lake, wanted, with_body=False))


def letters(lake: Lake, wanted: Selection) -> Iterator[list[Letter]]:
    """Those that are meant, whole, up to 1,000 or 8 MiB at a time. A journal that was replaced may give an origin
    several times: then there are several letters of one id. Raises DeltaError, OSError."""
    group: list[Letter] = []
    size = 0
    for some in _letters(lake, wanted, with_body=True):
        for letter in some:
            if group and (len(group) == _GROUP_LETTERS or size + len(letter.body) > _GROUP_BYTES):
                yield group
                group, size = [], 0
            group.append(letter)
            size += len(letter.body)
    if group:
        yield group


def _letters(lake: Lake, wanted: Selection, *, with_body: bool) -> Iterator[list[Letter]]:
    if not lake.exists(TABLE):
        return
    columns = ["src_door", "src_file", "src_line", "src_element", "error_type", "reason", "ingestion_time"]
    if with_body:
        columns += ["body", "body_base64"]
    condition = _condition(wanted)
    schema = pa.schema([DEAD_LETTERS_SCHEMA.field(column) for column in columns])
    ids = None if wanted.ids is None else frozenset(wanted.ids)
    for file in _files(lake, wanted):
        with pa.OSFile(file) as source:
            for batch in pq.ParquetFile(source).iter_batches(_READ_ROWS, columns=columns):
                # A compaction writes views of strings, which no filter takes.
                table = pa.Table.from_batches([batch]).select(columns).cast(schema)
                rows = table if condition is None else table.filter(condition)
                found = [_letter(row) for row in rows.to_pylist()]
                kept = [letter for letter in found if ids is None or letter.id in ids]
                if kept:
                    yield kept


def _files(lake: Lake, wanted: Selection) -> list[str]:
    handle = TableView(lake.path(TABLE)).handle()
    if handle is None:
        return []
    root = str(handle.table_uri).removeprefix("file://").rstrip("/")
    files = [
        f"{root}/{path}"
        for day, paths in files_by_day(handle).items()
        if (wanted.start is None or str(day) >= wanted.start.isoformat())
        and (wanted.end is None or str(day) <= wanted.end.isoformat())
        for path, _ in paths
    ]
    if wanted.ids is None:
        return sorted(files)
    may = files_that_may_hold(handle, origins_table(wanted.ids))
    return sorted(set(files).intersection(may))


def origins_table(ids: Sequence[LetterId]) -> pa.Table:
    """The ids as the `src_` columns of rows."""
    return pa.table(
        {
            "src_door": pa.array([each.door for each in ids], pa.string()),
            "src_file": pa.array([each.file for each in ids], pa.string()),
            "src_line": pa.array([each.line for each in ids], pa.int64()),
            "src_element": pa.array([each.element for each in ids], pa.int32()),
        }
    )


def _condition(wanted: Selection) -> pc.Expression | None:
    """What the columns alone decide; ids are compared whole afterwards."""
    conditions = {
        "error_type": wanted.error_types,
        "reason": wanted.reasons,
        "src_door": wanted.doors,
        "src_file": wanted.files,
    }
    whole = None
    for column, values in conditions.items():
        if values is not None:
            one = pc.field(column).isin(pa.array(list(values), pa.string()))
            whole = one if whole is None else whole & one
    if wanted.ids is not None:
        lines = pa.array(sorted({each.line for each in wanted.ids}), pa.int64())
        one = pc.field("src_line").isin(lines)
        whole = one if whole is None else whole & one
    return whole


def _letter(row: dict[str, object]) -> Letter:
    encoded = row.get("body_base64")
    body = base64.b64decode(encoded) if isinstance(encoded, str) else str(row.get("body", "")).encode()
    moment = row["ingestion_time"]
    assert isinstance(moment, datetime.datetime)
    line, element = row["src_line"], row["src_element"]
    assert isinstance(line, int)
    assert isinstance(element, int)
    return Letter(
        LetterId(str(row["src_door"]), str(row["src_file"]), line, element),
        body,
        str(row["error_type"]),
        str(row["reason"]),
        int(moment.timestamp() * 1000),
    )
