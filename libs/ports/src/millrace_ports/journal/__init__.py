"""Day journals: the embedded bus's storage, which the door also uses directly."""

from millrace_ports.journal.committer import GroupCommitter
from millrace_ports.journal.reader import JournalReader, Lines, ReplacedError, closed
from millrace_ports.journal.root import JournalRoot, day_of, midnight_ms
from millrace_ports.journal.writer import Appended, JournalWriter, WriteObserver

__all__ = [
    "Appended",
    "GroupCommitter",
    "JournalReader",
    "JournalRoot",
    "JournalWriter",
    "Lines",
    "ReplacedError",
    "WriteObserver",
    "closed",
    "day_of",
    "midnight_ms",
]
