"""The journal seen by the door: metrics, and the moments at which a test may kill it."""

from prometheus_client import Counter

from millrace_runtime.crash import crash_point
from millrace_runtime.metrics import Metrics


class JournalObserver:
    """A `WriteObserver` that counts durable lines in `lines` and times syncs."""

    def __init__(self, metrics: Metrics, lines: Counter) -> None:
        self._lines = lines
        self._sync_seconds = metrics.histogram("millrace_fsync_seconds")
        self._group_size = metrics.histogram("millrace_group_size")

    def before_sync(self, lines: int) -> None:
        """The group is written, a power cut may still take it."""
        crash_point("BEFORE_JOURNAL_SYNC")

    def after_sync(self, lines: int, seconds: float) -> None:
        """The group is durable, nobody has been answered yet."""
        crash_point("AFTER_JOURNAL_SYNC_BEFORE_ANSWER")
        self._lines.inc(lines)
        self._sync_seconds.observe(seconds)
        self._group_size.observe(lines)
