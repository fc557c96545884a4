"""Request ids at the rate of the door."""

import os

_BLOCK = 512
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


class RequestIds:
    """Random UUIDs (version 4) as text, from system randomness drawn 512 at a time. Not thread-safe."""

    def __init__(self) -> None:
        self._digits = ""
        self._at = 0

    def next(self) -> str:
        """A new id, 36 characters."""
        if self._at == len(self._digits):
            self._digits = os.urandom(16 * _BLOCK).hex()
            self._at = 0
        d = self._digits[self._at : self._at + 32]
        self._at += 32
        return f"{d[:8]}-{d[8:12]}-4{d[13:16]}-{_VARIANT[d[16]]}{d[17:20]}-{d[20:]}"
