"""Turning msg_ids into fixed-width keys, a column at a time.

A canonical decimal below 2^64 is its own value, exactly. Anything else gets a 64-bit hash, and a hit
on a hash is only a candidate: it is verified in the files, so that a collision never drops a row.
"""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace_ports.bus.kafka.partitioner import murmur2

BUCKETS = 16
"""Kafka's partition counts are divisors of it, so that a routed key always meets the same bucket."""

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

_MAX_U64 = b"18446744073709551615"


@dataclasses.dataclass(frozen=True, slots=True)
class Keys:
    """Keys of n msg_ids: value or hash, whether the value is exact, and the bucket (0 to 15)."""

    values: U64
    exact: Mask
    buckets: U8

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: npt.NDArray[np.int64] | Mask) -> Keys:
        """The keys of those rows."""
        return Keys(self.values[rows], self.exact[rows], self.buckets[rows])


def keys_of(ids: pa.StringArray) -> Keys:
    """Keys of a string column without nulls."""
    count = len(ids)
    values = np.zeros(count, np.uint64)
    exact = np.zeros(count, np.bool_)
    buckets = np.zeros(count, np.uint8)
    if count == 0:
        return Keys(values, exact, buckets)
    _, offset_buffer, data_buffer = ids.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[ids.offset : ids.offset + count + 1].astype(np.int64)
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer else np.zeros(0, np.uint8)
    lengths = np.diff(offsets)
    # One matrix of bytes per distinct length: ids of one source nearly always have one length.
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        matrix = data[offsets[rows][:, None] + np.arange(length)]
        buckets[rows] = (murmur2(matrix) & np.uint32(0x7FFFFFFF)) % BUCKETS
        values[rows], exact[rows] = _decimal_values(matrix)
        for row in rows[~exact[rows]]:
            text = data[offsets[row] : offsets[row + 1]].tobytes()
            values[row] = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
    return Keys(values, exact, buckets)


def _decimal_values(matrix: U8) -> tuple[U64, Mask]:
    """Value of each row that is a canonical decimal below 2^64, and which rows are."""
    count, length = matrix.shape
    values = np.zeros(count, np.uint64)
    if length == 0 or length > len(_MAX_U64):
        return values, np.zeros(count, np.bool_)
    digits = matrix - np.uint8(ord("0"))  # wraps around below "0", which makes it large
    exact: Mask = np.all(digits <= 9, axis=1)
    if length > 1:
        exact &= digits[:, 0] != 0
    if length == len(_MAX_U64):
        for row in np.flatnonzero(exact):
            exact[row] = matrix[row].tobytes() <= _MAX_U64
    for column in range(length):
        values *= np.uint64(10)
        values += digits[:, column]
    values[~exact] = 0
    return values, exact
