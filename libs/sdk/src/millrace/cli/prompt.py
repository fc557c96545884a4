"""The prompt of `millrace sql`: statements that end with `;`, and commands that begin with a backslash."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.errors import InvalidRequestError, MillraceError

if TYPE_CHECKING:
    from millrace.client import Client

HELP = """\
statements end with ; and may have several lines
\\d             the views        \\d VIEW   columns of a view
\\csv FILE      the answer to the last statement into a file, as CSV
\\limit [N]     rows at most; without N, the default
\\timing        show or hide how long an answer took
\\unmask        show clear values, or hide them again; needs lake:unmask
\\reset         forget the statement begun
\\?             this list        \\q        leave (also Ctrl-D)
"""
_FIRST, _NEXT = "millrace> ", "      ..> "


class Prompt:
    """One session. `failed` is whether its last statement or command did."""

    def __init__(self, client: "Client", *, form: str, limit: int | None, unmask: bool) -> None:
        self._client = client
        self._form = form
        self._limit = limit
        self._unmask = unmask
        self._timing = True
        self._begun: list[str] = []
        self._last = ""
        self.failed = False
        self._commands: dict[str, Callable[[str], None]] = {
            "\\d": self._describe,
            "\\csv": self._write_csv,
            "\\limit": self._set_limit,
            "\\timing": self._toggle_timing,
            "\\unmask": self._toggle_unmask,
            "\\reset": self._reset,
            "\\?": lambda _: self._say(HELP),
        }

    def interactive(self) -> int:
        """Ask at a terminal until the user leaves; the exit code, which is 0."""
        import readline  # noqa: F401  line editing and history of this session

        self._say("millrace sql: read-only; \\? lists the commands, \\q leaves\n")
        while True:
            try:
                line = input(_NEXT if self._begun else _FIRST)
            except EOFError:
                self._say("\n")
                return 0
            except KeyboardInterrupt:
                self._begun = []
                self._say("\n")
                continue
            try:
                if not self.take(line):
                    return 0
            except KeyboardInterrupt:
                self._begun = []
                sys.stderr.write("millrace: interrupted\n")

    def read_all(self, lines: Iterable[str]) -> int:
        """Take the lines of a file or pipe, the last statement with or without `;`; the exit code.

        Ends at the first failure, with 1.
        """
        for line in lines:
            if not self.take(line.rstrip("\n")):
                return 0
            if self.failed:
                return 1
        if any(part.strip() for part in self._begun):
            self.take(";")
        return 1 if self.failed else 0

    def take(self, line: str) -> bool:
        """Take one line; False to leave."""
        word, _, rest = line.strip().partition(" ")
        if not self._begun or word in ("\\q", "\\reset"):
            if word == "\\q":
                return False
            if word.startswith("\\"):
                self._attempt(lambda: self._command(word, rest.strip()))
                return True
            if not word:
                return True
        self._begun.append(line)
        text = "\n".join(self._begun)
        if ends(text):
            self._begun = []
            statement = text.strip().rstrip(";").strip()
            if statement:
                self._attempt(lambda: self._ask(statement))
        return True

    def _attempt(self, work: Callable[[], None]) -> None:
        from millrace.cli.app import explained

        self.failed = False
        try:
            work()
        except MillraceError as error:
            self.failed = True
            sys.stderr.write(f"millrace: {explained(error)}\n")
            sys.stderr.flush()

    def _ask(self, statement: str) -> None:
        from millrace.cli.sql import TABLE_ROWS, tell, write_answer, write_result

        self._last = statement
        if self._form != "table":
            write_answer(self._client, statement, form=self._form, limit=self._limit, unmask=self._unmask)
            return
        result = self._client.sql(statement, limit=self._limit or TABLE_ROWS, unmask=self._unmask)
        write_result(result, timing=self._timing)
        tell(False, result.warnings)

    def _command(self, word: str, rest: str) -> None:
        command = self._commands.get(word)
        if command is None:
            raise InvalidRequestError(f"no command {word}: \\? lists them")
        command(rest)

    def _describe(self, view: str) -> None:
        from millrace.cli.sql import write_result

        if view and not view.isidentifier():
            raise InvalidRequestError(f"\\d: {view!r} is not the name of a view")
        text = f"SELECT column_name, column_type FROM (DESCRIBE {view})" if view else "SHOW TABLES"  # noqa: S608
        write_result(self._client.sql(text), timing=False)

    def _write_csv(self, name: str) -> None:
        if not name:
            raise InvalidRequestError("\\csv: name a file")
        if not self._last:
            raise InvalidRequestError("\\csv: there is no statement yet")
        from millrace.cli.sql import tell

        text = self._client.sql_csv(self._last, limit=self._limit, unmask=self._unmask)
        try:
            Path(name).expanduser().write_bytes(text.body)
        except OSError as error:
            raise InvalidRequestError(f"\\csv: cannot write {name}: {error.strerror}") from None
        self._say(f"{len(text.body)} bytes in {name}\n")
        tell(text.truncated, text.warnings)

    def _set_limit(self, number: str) -> None:
        if number and not (number.isdecimal() and int(number) > 0):
            raise InvalidRequestError(f"\\limit: {number!r} is not a number of rows")
        self._limit = int(number) if number else None

    def _toggle_timing(self, _: str) -> None:
        self._timing = not self._timing
        self._say(f"timing is {'on' if self._timing else 'off'}\n")

    def _toggle_unmask(self, _: str) -> None:
        self._unmask = not self._unmask
        self._say(f"values are {'clear' if self._unmask else 'masked'}\n")

    def _reset(self, _: str) -> None:
        self._begun = []

    def _say(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def ends(text: str) -> bool:
    """Whether the text ends with a `;` that is in no quotes and no comment."""
    at, ended = 0, False
    while at < len(text):
        here = text[at]
        if text.startswith("--", at):
            stop = text.find("\n", at)
            at = len(text) if stop < 0 else stop + 1
            continue
        if text.startswith("/*", at):
            stop = text.find("*/", at + 2)
            if stop < 0:
                return False
            at = stop + 2
            continue
        if here in "'\"":
            stop = text.find(here, at + 1)
            if stop < 0:
                return False
            at, ended = stop + 1, False
            continue
        if here == ";":
            ended = True
        elif not here.isspace():
            ended = False
        at += 1
    return ended
