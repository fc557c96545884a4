"""Which data files can hold the rows asked for, from the table's log alone (LAKE-101).

One `Files` value is the live files of one table version as arrays; everything here is pure and
opens nothing.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from query_service.search.tables import ARCHIVE

Ints = npt.NDArray[np.int64]

US_PER_DAY = 86_400_000_000
UNKNOWN_ROWS = -1

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_LOWEST, _HIGHEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max
# A log keeps times to the millisecond, cut off: the true maximum may be this much later.
_CUT_OFF_US = 999


@dataclass(frozen=True, slots=True)
class Files:
    """Data files side by side: element i of every field describes the same file.

    `paths` are names as `Tables.locate` takes them; `day` is the partition as days since 1970-01-01; `rows` is
    `UNKNOWN_ROWS` where the log has no count; `lo_us` and `hi_us` bound create_time, both ends
    included, in microseconds since 1970; `id_lo` and `id_hi` bound msg_id as text (None: unbounded).
    """

    paths: tuple[str, ...]
    day: Ints
    size: Ints
    rows: Ints
    lo_us: Ints
    hi_us: Ints
    id_lo: tuple[str | None, ...]
    id_hi: tuple[str | None, ...]
    newest_us: int | None = None
    """Latest ingestion_time of any row, None when no file tells."""
    in_both: frozenset[int] = frozenset()
    """Days of which the lake and the archive have files: an archived row may stand in the lake as well, between
    the two commits that move it."""

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, chosen: Sequence[int] | Ints) -> "Files":
        """The files at these positions, in that order."""
        at = np.asarray(chosen, dtype=np.int64)
        return Files(
            paths=tuple(self.paths[i] for i in at),
            day=self.day[at],
            size=self.size[at],
            rows=self.rows[at],
            lo_us=self.lo_us[at],
            hi_us=self.hi_us[at],
            id_lo=tuple(self.id_lo[i] for i in at),
            id_hi=tuple(self.id_hi[i] for i in at),
            newest_us=self.newest_us,
            in_both=self.in_both,
        )

    def doubtful(self) -> "Ints":
        """Positions of files of the lake whose rows may stand in the archive as well."""
        if not self.in_both:
            return np.empty(0, dtype=np.int64)
        here = [
            i
            for i, path in enumerate(self.paths)
            if int(self.day[i]) in self.in_both and not path.startswith(ARCHIVE)
        ]
        return np.asarray(here, dtype=np.int64)

    def deciding(self) -> "Files":
        """The archived files that tell which rows of the doubtful ones are there already."""
        if not self.in_both:
            return self.take([])
        return self.take(
            [
                i
                for i, path in enumerate(self.paths)
                if int(self.day[i]) in self.in_both and path.startswith(ARCHIVE)
            ]
        )


def no_files() -> Files:
    """The files of a table that does not exist yet."""
    none = np.empty(0, dtype=np.int64)
    return Files((), none, none, none, none, none, (), ())


def from_add_actions(actions: pa.Table) -> Files:
    """The files of a table version: `actions` is its flattened add actions.

    A statistic that a file lacks makes its bound infinite, so that the file is never wrongly left out.
    """
    newest = _times(actions, "max.ingestion_time", _LOWEST)
    latest = int(newest.max()) if len(newest) else _LOWEST
    hi_us = _times(actions, "max.create_time", _HIGHEST)
    return Files(
        paths=tuple(actions["path"].to_pylist()),
        day=_days(actions),
        size=_numbers(actions, "size_bytes", 0),
        rows=_numbers(actions, "num_records", UNKNOWN_ROWS),
        lo_us=_times(actions, "min.create_time", _LOWEST),
        hi_us=np.where(hi_us > _HIGHEST - _CUT_OFF_US, hi_us, hi_us + _CUT_OFF_US),
        id_lo=tuple(_texts(actions, "min.msg_id")),
        id_hi=tuple(_texts(actions, "max.msg_id")),
        newest_us=None if latest == _LOWEST else latest,
    )


def bounds_us(start: date, end: date) -> tuple[int, int]:
    """From the first microsecond of `start` up to, not including, the first after `end`."""
    first = start.toordinal() - _EPOCH_ORDINAL
    last = end.toordinal() - _EPOCH_ORDINAL
    return first * US_PER_DAY, (last + 1) * US_PER_DAY


def together(hot: Files, archived: Files) -> Files:
    """The files of the lake and those of the archive, whose names get its prefix."""
    if not len(archived):
        return hot
    newest = [us for us in (hot.newest_us, archived.newest_us) if us is not None]
    return Files(
        paths=hot.paths + tuple(f"{ARCHIVE}{path}" for path in archived.paths),
        day=np.concatenate([hot.day, archived.day]),
        size=np.concatenate([hot.size, archived.size]),
        rows=np.concatenate([hot.rows, archived.rows]),
        lo_us=np.concatenate([hot.lo_us, archived.lo_us]),
        hi_us=np.concatenate([hot.hi_us, archived.hi_us]),
        id_lo=hot.id_lo + archived.id_lo,
        id_hi=hot.id_hi + archived.id_hi,
        newest_us=max(newest, default=None),
        in_both=frozenset(hot.day.tolist()) & frozenset(archived.day.tolist()),
    )


def of_days(files: Files, start: date, end: date) -> Files:
    """The files of these days' partitions whose create_time can lie within the days."""
    from_us, until_us = bounds_us(start, end)
    within = (files.day >= from_us // US_PER_DAY) & (files.day < until_us // US_PER_DAY)
    overlapping = (files.lo_us < until_us) & (files.hi_us >= from_us)
    return files.take(np.flatnonzero(within & overlapping))


def of_ids(files: Files, msg_ids: Sequence[str]) -> Files:
    """The files whose msg_id range holds at least one of `msg_ids`, which are sorted.

    Python compares text by code point, which is the byte order of UTF-8 that statistics have.
    """

    def may_hold(low: str | None, high: str | None) -> bool:
        at = 0 if low is None else bisect_left(msg_ids, low)
        return at < len(msg_ids) and (high is None or msg_ids[at] <= high)

    return files.take([i for i in range(len(files)) if may_hold(files.id_lo[i], files.id_hi[i])])


def lie_within(files: Files, start: date, end: date) -> bool:
    """Whether the log tells that every row of these files is of these days."""
    from_us, until_us = bounds_us(start, end)
    return bool(((files.lo_us >= from_us) & (files.hi_us < until_us)).all())


def known_counts(files: Files, start: date, end: date) -> Ints | None:
    """Rows of each file within the days, if the log alone tells; else None."""
    told = lie_within(files, start, end) and bool((files.rows >= 0).all())
    return files.rows if told else None


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the ordered answer: rows `offset` to `offset + limit` of those in `files`
    (positions in the `Files` it was cut from)."""

    files: Ints
    offset: int
    limit: int


def ordered_parts(files: Files, counts: Ints, offset: int, limit: int | None, part_rows: int) -> list[Part]:
    """Cut rows `offset` to `offset + limit` of the answer, ordered by create_time, into parts.

    Files whose create_time ranges overlap stay together, so every row of a part precedes every row
    of the next, and answering the parts one after the other is a sort of the whole with the memory
    of a part. Files that cannot touch the asked rows are in no part and need not be opened. Parts
    hold at least `part_rows` matching rows where possible: fewer, larger questions.
    """
    matching = np.flatnonzero(counts)
    order = matching[np.argsort(files.lo_us[matching], kind="stable")]
    total = int(counts.sum())
    stop = total if limit is None else min(total, offset + limit)
    parts: list[Part] = []
    group: list[int] = []
    group_rows, group_start, reach = 0, 0, _LOWEST

    def close() -> None:
        skipped = max(0, offset - group_start)
        wanted = min(group_start + group_rows, stop) - group_start - skipped
        if wanted > 0:
            parts.append(Part(np.asarray(group, dtype=np.int64), skipped, wanted))

    for position in order:
        separate = files.lo_us[position] > reach
        useless = group_start + group_rows <= offset  # nothing of the group is asked for
        if group and separate and (group_rows >= part_rows or useless):
            close()
            group, group_start, group_rows = [], group_start + group_rows, 0
        if separate and group_start + group_rows >= stop:
            break
        group.append(int(position))
        group_rows += int(counts[position])
        reach = max(reach, int(files.hi_us[position]))
    close()
    return parts


def _column(actions: pa.Table, name: str) -> pa.ChunkedArray | None:
    return actions[name] if name in actions.column_names else None


def _numbers(actions: pa.Table, name: str, missing: int) -> Ints:
    column = _column(actions, name)
    if column is None:
        return np.full(actions.num_rows, missing, dtype=np.int64)
    return np.asarray(pc.fill_null(column.cast(pa.int64()), missing).to_numpy(), dtype=np.int64)


def _times(actions: pa.Table, name: str, missing: int) -> Ints:
    column = _column(actions, name)
    if column is None:
        return np.full(actions.num_rows, missing, dtype=np.int64)
    micros = column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    return np.asarray(pc.fill_null(micros, missing).to_numpy(), dtype=np.int64)


def _texts(actions: pa.Table, name: str) -> list[str | None]:
    column = _column(actions, name)
    texts: list[str | None] = [None] * actions.num_rows if column is None else column.to_pylist()
    return texts


def _days(actions: pa.Table) -> Ints:
    """The partition of each file as days since 1970; one without a valid day matches no day."""
    parts = [_texts(actions, f"partition.{key}") for key in ("year", "month", "day")]
    return np.array([_day_number(*texts) for texts in zip(*parts, strict=True)], dtype=np.int64)


def _day_number(year: str | None, month: str | None, day: str | None) -> int:
    try:
        return date(int(year or ""), int(month or ""), int(day or "")).toordinal() - _EPOCH_ORDINAL
    except ValueError:
        return int(_LOWEST)
