"""UUID version 7 of RFC 9562, strictly rising (ID-29).

    48 bits Unix ms | 4 bits version 0111 | 12 bits | 2 bits variant 10 | 62 bits

The 74 free bits are one number, "the tail" (RFC 9562 section 6.2, method 2). Each new millisecond
draws it afresh with its top bit clear; within a millisecond, and while the clock is behind the last
millisecond used, it grows by a random step. So ids rise strictly and stay hard to guess.
"""

import os
import threading
from collections.abc import Callable

from id_service.process_bound import ProcessBound
from millrace_runtime.clock import Clock
from millrace_runtime.errors import ErrorCode, ServiceError

_NEVER_MS = -(1 << 63)
_LAST_MS = (1 << 48) - 1
_TAIL_BITS = 74
_LOW_BITS = 62
_LOW_MASK = (1 << _LOW_BITS) - 1
_VERSION = 0x7 << 76
_VARIANT = 0b10 << _LOW_BITS
_SEED_BYTES = 10
_SEED_MASK = (1 << (_TAIL_BITS - 1)) - 1
_STEP_BYTES = 4

RandomBytes = Callable[[int], bytes]
"""Gives that many bytes from a cryptographic source."""


class UuidV7:
    """Makes UUIDs of version 7. Safe for any number of threads; bound to the process that made it."""

    def __init__(self, clock: Clock, random_bytes: RandomBytes = os.urandom) -> None:
        self._clock = clock
        self._random_bytes = random_bytes
        self._lock = threading.Lock()
        self._process = ProcessBound()
        self._ms = _NEVER_MS
        self._tail = 0

    def take(self, size: int) -> list[str]:
        """`size` new UUIDs in canonical lower-case form, rising in list order and above all earlier ones.

        Raises:
            ServiceError: UUID_FAILED when the clock is outside the years that 48 bits of ms can say.
            ForkedStateError: in a child of the process that made this object; before the lock is
                taken, which the fork may have copied while it was held.
        """
        self._process.check()
        steps = self._random_bytes(_STEP_BYTES * size)
        with self._lock:
            values = [
                self._next(int.from_bytes(steps[at : at + _STEP_BYTES]))
                for at in range(0, _STEP_BYTES * size, _STEP_BYTES)
            ]
        return [_canonical(value) for value in values]

    def _next(self, random_step: int) -> int:
        now_ms = self._clock.now_ms()
        if now_ms > self._ms:
            self._start(now_ms)
        else:
            self._tail += random_step + 1
            if self._tail >> _TAIL_BITS:
                self._start(self._ms + 1)
        return (
            (self._ms << 80)
            | _VERSION
            | (self._tail >> _LOW_BITS << 64)
            | _VARIANT
            | (self._tail & _LOW_MASK)
        )

    def _start(self, ms: int) -> None:
        if not 0 <= ms <= _LAST_MS:
            raise ServiceError(ErrorCode.UUID_FAILED, "the clock is outside the range of uuid_v7")
        self._ms = ms
        self._tail = int.from_bytes(self._random_bytes(_SEED_BYTES)) & _SEED_MASK


def _canonical(value: int) -> str:
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
