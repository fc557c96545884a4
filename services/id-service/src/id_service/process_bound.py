"""State that must not outlive a fork.

A forked child holds a copy of the parent's ranges and counters and would issue the same ids. Such
state is made after the fork (ARCHITECTURE section 5); this is the check that it really was.
"""

import os


class ForkedStateError(RuntimeError):
    """State made by the parent process was used in a child. Compose the service after the fork."""


class ProcessBound:
    """Remembers the process it was made in."""

    __slots__ = ("_pid",)

    def __init__(self) -> None:
        self._pid = os.getpid()

    def check(self) -> None:
        """Raise `ForkedStateError` in any other process; costs 50 ns."""
        if os.getpid() != self._pid:
            raise ForkedStateError("id state was made before a fork and cannot be used after it")
