"""Places where a test may kill or stop the process, named by the moment they stand for."""

import os
import signal
import threading

CRASH_AT = "MILLRACE_CRASH_AT"
PAUSE_AT = "MILLRACE_PAUSE_AT"


class _Moment:
    """`name` or `name#k`, k being the hit that counts; and the signal that the process sends itself then."""

    def __init__(self, variable: str, number: signal.Signals) -> None:
        self.name, _, hit = os.environ.get(variable, "").partition("#")
        self._hits_left = int(hit) if hit.isdecimal() else 1
        self._signal = number

    def hit(self) -> None:
        self._hits_left -= 1
        if self._hits_left == 0:
            # To this thread, which handles it before it goes on: sent to the process, another thread would,
            # and this one could get some steps further.
            signal.pthread_kill(threading.get_ident(), self._signal)


_moments = [_Moment(CRASH_AT, signal.SIGKILL), _Moment(PAUSE_AT, signal.SIGSTOP)]


def crash_point(name: str) -> None:
    """Do nothing, unless MILLRACE_CRASH_AT or MILLRACE_PAUSE_AT of this process is `name` or `name#k`:
    then end the process by SIGKILL, or stop it by SIGSTOP, at the k-th time it comes here.

    SIGKILL, so that no handler, `finally` or buffer flush softens the fall. SIGSTOP, for a pause of any
    length in the middle, as a suspended host makes it; SIGCONT lets it go on.
    """
    for moment in _moments:
        if moment.name == name:
            moment.hit()
