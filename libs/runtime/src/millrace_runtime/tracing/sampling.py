"""Which requests are traced, decided once, where they come in."""

import random
import time
from collections.abc import Callable

from millrace_runtime.tracing.traceparent import Parent, parse


class Sampler:
    """Follows the caller's decision, and without one takes a share of the requests.

    A caller that says "sampled" is followed `callers_per_s` times a second, so that a stranger cannot have
    everything recorded; beyond that its requests are taken by the ratio like any others. One that says "not
    sampled" is followed always.

    Args:
        ratio: share of the requests without a traceparent, 0 to 1.
        monotonic: seconds.
        draw: a random number, 0 included, 1 not.
    """

    def __init__(
        self,
        ratio: float,
        callers_per_s: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._ratio = ratio
        self._callers_per_s = callers_per_s
        self._most = max(callers_per_s, 1) if callers_per_s else 0
        self._monotonic = monotonic
        self._draw = draw
        self._left = self._most
        self._counted_at = monotonic()

    def decide(self, traceparent: str | None) -> tuple[bool, Parent | None]:
        """Whether a request with this header is traced, and whose child it is then."""
        parent = None if traceparent is None else parse(traceparent)
        if parent is None:
            return self._draw() < self._ratio, None
        if not parent.sampled:
            return False, None
        return self.admits_caller() or self._draw() < self._ratio, parent

    def admits_caller(self) -> bool:
        """Whether one more trace may be turned on from outside now; counts it."""
        now = self._monotonic()
        gained = (now - self._counted_at) * self._callers_per_s
        self._left = min(self._most, self._left + gained)
        self._counted_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
