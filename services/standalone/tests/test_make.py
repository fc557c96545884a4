"""`make run` on a terminal, ended with Ctrl-C."""

import os
import pty
import select
import time
from pathlib import Path

import pytest

from millrace_testkit.ports import free_offset
from millrace_testkit.standalone import READY_LINE, READY_WITHIN_S, environment

pytestmark = pytest.mark.e2e

ROOT = next(parent for parent in Path(__file__).resolve().parents if (parent / "Makefile").exists())
CTRL_C = b"\x03"


class Terminal:
    """A command in the foreground of a terminal of its own."""

    def __init__(self, command: list[str], environ: dict[str, str]) -> None:
        self.shown = ""
        self._pid, self._screen = pty.fork()
        if self._pid == 0:
            os.chdir(ROOT)
            os.execvpe(command[0], command, environ)

    def read_until(self, text: str) -> None:
        """Read what is shown until `text`; fails when it does not come."""
        deadline = time.monotonic() + READY_WITHIN_S
        while text not in self.shown:
            readable, _, _ = select.select([self._screen], [], [], max(0.0, deadline - time.monotonic()))
            assert readable, f"{text!r} is not shown:\n{self.shown}"
            self.shown += os.read(self._screen, 65_536).decode(errors="replace")

    def type(self, keys: bytes) -> None:
        os.write(self._screen, keys)

    def exit_code(self) -> int:
        """Read to the end, then the command's exit code."""
        try:
            while part := os.read(self._screen, 65_536):
                self.shown += part.decode(errors="replace")
        except OSError:
            pass  # how Linux says that the other side of a terminal is closed
        os.close(self._screen)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


# CPython warns of a fork beside the threads of other tests' clients; the child only executes make.
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of forkpty:DeprecationWarning")
def test_ctrl_c_is_a_clean_end_for_make_too(tmp_path: Path) -> None:
    environ = environment(tmp_path / "data", free_offset()) | {"TERM": "xterm"}
    terminal = Terminal(["make", "run", "ARGS=--no-sample"], environ)
    terminal.read_until(READY_LINE)
    terminal.type(CTRL_C)
    assert terminal.exit_code() == 0, terminal.shown
    assert "Error" not in terminal.shown
    assert (tmp_path / "data/credentials.json").exists()
