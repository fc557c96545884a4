"""Which partition a key belongs to: as every Kafka client has it, so that foreign producers agree."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_SEED = np.uint32(0x9747B28C)
_M = np.uint32(0x5BD1E995)


def lanes_of(keys: Sequence[bytes | None], partitions: int, *, keyless: int) -> dict[int, list[int]]:
    """Places of the records in `keys` by the number of their partition, in order.

    Records without a key go to partition `keyless`.
    """
    numbers = np.empty(len(keys), np.int64)
    lengths = np.fromiter((-1 if key is None else len(key) for key in keys), np.int64, len(keys))
    ends = np.cumsum(np.maximum(lengths, 0))
    data = np.frombuffer(b"".join([key for key in keys if key]), np.uint8)
    # One matrix of bytes per distinct length: keys of one kind nearly always have one length.
    for length in np.unique(lengths):
        places = np.flatnonzero(lengths == length)
        if length < 0:
            numbers[places] = keyless
        else:
            matrix = data[(ends[places] - length)[:, None] + np.arange(length)]
            numbers[places] = (murmur2(matrix) & np.uint32(0x7FFFFFFF)) % np.uint32(partitions)
    return {int(number): np.flatnonzero(numbers == number).tolist() for number in np.unique(numbers)}


def murmur2(matrix: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """Kafka's 32-bit hash of each row of an (n, length) matrix of bytes.

    `org.apache.kafka.common.utils.Utils.murmur2`, before it is made positive.
    """
    count, length = matrix.shape
    h = np.full(count, _SEED ^ np.uint32(length), np.uint32)
    whole = length // 4
    words = np.ascontiguousarray(matrix[:, : whole * 4]).view("<u4").reshape(count, whole)
    for column in range(whole):
        k = words[:, column] * _M
        k ^= k >> np.uint32(24)
        k *= _M
        h *= _M
        h ^= k
    rest = length - whole * 4
    if rest:
        for position in range(rest - 1, -1, -1):
            h ^= matrix[:, whole * 4 + position].astype(np.uint32) << np.uint32(8 * position)
        h *= _M
    h ^= h >> np.uint32(13)
    h *= _M
    h ^= h >> np.uint32(15)
    return h
