"""Sorted arrays of keys per bucket: a memory-mapped snapshot and what came since.

The snapshot is one file: a header (JSON line), then for each bucket the exact values (uint64, sorted),
then for each bucket the hashes (uint64, sorted) with their days (int32, days since 1970-01-01).
It is written beside, synced and renamed, so that it is whole or absent.
"""

from __future__ import annotations

import pathlib
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from ingest_service.lake.durable import write_durably
from ingest_service.land.index.keys import BUCKETS, U64, Keys, Mask
from millrace_runtime.crash import crash_point

Days = npt.NDArray[np.int32]
_MAGIC = "millrace-key-index-1"
_ADDED_AT_ONCE = 2_000_000


class Header(msgspec.Struct, frozen=True):
    """What a snapshot is a snapshot of. `table` is the table's id, `version` its version."""

    magic: str
    table: str
    version: int
    exact: list[int]
    hashed: list[int]
    checksum: int


class SnapshotUnusableError(Exception):
    """No snapshot, or not one of this table: rebuild."""


class KeyStore:
    """Every key, by bucket. Not thread safe: the lander owns it."""

    def __init__(self) -> None:
        self._base: list[U64] = [np.zeros(0, np.uint64) for _ in range(BUCKETS)]
        self._recent: list[U64] = [np.zeros(0, np.uint64) for _ in range(BUCKETS)]
        self._hashes: list[U64] = [np.zeros(0, np.uint64) for _ in range(BUCKETS)]
        self._days: list[Days] = [np.zeros(0, np.int32) for _ in range(BUCKETS)]
        self.recent_count = 0

    def __len__(self) -> int:
        return sum(map(len, self._base)) + self.recent_count + sum(map(len, self._hashes))

    def add(self, keys: Keys, days: Days) -> None:
        """Adds keys with the day of each one's row. A key may be added twice: it is a set."""
        for bucket in np.unique(keys.buckets):
            here = keys.buckets == bucket
            exact = keys.values[here & keys.exact]
            if len(exact):
                self._recent[bucket] = _merged(self._recent[bucket], np.sort(exact))
                self.recent_count += len(exact)
            hashed = here & ~keys.exact
            if hashed.any():
                values = np.concatenate([self._hashes[bucket], keys.values[hashed]])
                order = np.argsort(values, kind="stable")
                self._hashes[bucket] = values[order]
                self._days[bucket] = np.concatenate([self._days[bucket], days[hashed]])[order]

    def add_all(self, batches: Iterable[tuple[Keys, Days]]) -> None:
        """Adds many batches at the price of a few: each `add` passes over all keys once."""
        waiting: list[tuple[Keys, Days]] = []
        count = 0
        for batch in batches:
            waiting.append(batch)
            count += len(batch[0])
            if count >= _ADDED_AT_ONCE:
                self.add(*_joined(waiting))
                waiting.clear()
                count = 0
        if waiting:
            self.add(*_joined(waiting))

    def contains(self, keys: Keys) -> Mask:
        """Which exact keys are stored, exactly; and which hashed keys may be (candidates)."""
        found = np.zeros(len(keys), np.bool_)
        for bucket in np.unique(keys.buckets):
            here = np.flatnonzero(keys.buckets == bucket)
            exact = keys.exact[here]
            rows = here[exact]
            if len(rows):
                values = keys.values[rows]
                found[rows] = _member(self._base[bucket], values) | _member(self._recent[bucket], values)
            rows = here[~exact]
            if len(rows):
                found[rows] = _member(self._hashes[bucket], keys.values[rows])
        return found

    def candidate_days(self, bucket: int, value: int) -> set[int]:
        """Days since 1970-01-01 on which a row with this hash was stored."""
        hashes = self._hashes[bucket]
        wanted = np.uint64(value)
        low, high = np.searchsorted(hashes, wanted, "left"), np.searchsorted(hashes, wanted, "right")
        return {int(day) for day in self._days[bucket][low:high]}

    def save(self, path: pathlib.Path, table: str, version: int) -> None:
        """Writes all keys as the snapshot of that table version, and goes on from the mapped file."""
        exact = [_merged(base, recent) for base, recent in zip(self._base, self._recent, strict=True)]
        parts: list[npt.NDArray[Any]] = [*exact, *self._hashes, *self._days]
        checksum = 0
        for part in parts:
            checksum = zlib.crc32(_bytes(part), checksum)
        header = Header(_MAGIC, table, version, list(map(len, exact)), list(map(len, self._hashes)), checksum)
        head = msgspec.json.encode(header) + b"\n"
        # Arrays start at a multiple of 8 bytes, so that they can be mapped.
        head = head[:-1] + b" " * (-len(head) % 8) + b"\n"

        def adopt(written: pathlib.Path) -> None:
            # By its name it might be another process's a moment later.
            self._adopt(np.memmap(written, np.uint8, "r"), header, len(head))
            crash_point("DURING_INDEX_SNAPSHOT")

        write_durably(path, [head, *map(_bytes, parts)], before_rename=adopt)

    @classmethod
    def load(cls, path: pathlib.Path, table: str) -> tuple[KeyStore, int]:
        """The store of a snapshot and the table version that it holds; SnapshotUnusableError otherwise."""
        try:
            with path.open("rb") as file:
                head = file.readline(1 << 20)
                header = msgspec.json.decode(head, type=Header)
                # Of this file, whatever another process puts in its place now.
                whole = np.memmap(file, np.uint8, "r")
        except (
            OSError,
            ValueError,
        ) as error:  # msgspec's errors are ValueErrors, and an empty file gives one
            raise SnapshotUnusableError(str(error)) from error
        if header.magic != _MAGIC or header.table != table:
            raise SnapshotUnusableError("a snapshot of another table or layout")
        expected = len(head) + 8 * sum(header.exact) + 12 * sum(header.hashed)
        if len(whole) != expected:
            raise SnapshotUnusableError(f"{len(whole)} bytes, not {expected}")
        if zlib.crc32(_bytes(whole[len(head) :])) != header.checksum:
            raise SnapshotUnusableError("checksum differs")
        store = cls()
        store._adopt(whole, header, len(head))
        return store, header.version

    def _adopt(self, whole: npt.NDArray[np.uint8], header: Header, start: int) -> None:
        """Takes the exact keys of a mapped snapshot (evictable memory) and keeps the few hashed ones in memory."""
        self._base = []
        for count in header.exact:
            self._base.append(whole[start : start + 8 * count].view(np.uint64))
            start += 8 * count
        self._hashes = []
        for count in header.hashed:
            self._hashes.append(np.array(whole[start : start + 8 * count].view(np.uint64)))
            start += 8 * count
        self._days = []
        for count in header.hashed:
            self._days.append(np.array(whole[start : start + 4 * count].view(np.int32)))
            start += 4 * count
        self._recent = [np.zeros(0, np.uint64) for _ in range(BUCKETS)]
        self.recent_count = 0


def _joined(batches: Sequence[tuple[Keys, Days]]) -> tuple[Keys, Days]:
    """The batches as one."""
    keys, days = zip(*batches, strict=True)
    values, exact, buckets = (
        np.concatenate([getattr(some, name) for some in keys]) for name in ("values", "exact", "buckets")
    )
    return Keys(values, exact, buckets), np.concatenate(days)


def _bytes(array: npt.NDArray[Any]) -> memoryview:
    return memoryview(np.ascontiguousarray(array).data).cast("B")


def _merged(one: U64, other: U64) -> U64:
    """Two sorted arrays as one."""
    if not len(one) or not len(other):
        return one if len(one) else other
    if len(other) * 16 < len(one):
        return np.insert(one, np.searchsorted(one, other), other)  # a batch: little more than one copy
    return np.sort(np.concatenate([one, other]), kind="stable")  # finds the two runs and merges them


def _member(sorted_values: U64, wanted: U64) -> Mask:
    """Which of `wanted` occur in a sorted array."""
    if not len(sorted_values):
        return np.zeros(len(wanted), np.bool_)
    places = np.searchsorted(sorted_values, wanted)
    places[places == len(sorted_values)] = 0
    hits: Mask = sorted_values[places] == wanted
    return hits
