"""How much is too much: the figures that maintenance acts on."""

from __future__ import annotations

import dataclasses

MB = 1_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """`small_files`: a partition with more files below `small_bytes` than this is compacted (LAKE-69).

    `target_bytes` is the size compaction aims at. It bounds the price of one more compaction of the
    same partition, since files at that size are left alone; it is several times `small_bytes`, so
    that any two small neighbours fit together and the count of small files falls for sure.

    `grace_hours` is how long a file that no version needs stays: longer than the longest batch of a
    writer and the longest query of a reader. `vacuum_every_s` is the time between two looks for such
    files; `checkpoint_every` the number of commits after which the log is summed up.
    """

    small_files: int = 50
    small_bytes: int = 10 * MB
    target_bytes: int = 32 * MB
    grace_hours: int = 1
    vacuum_every_s: float = 600.0
    checkpoint_every: int = 100
