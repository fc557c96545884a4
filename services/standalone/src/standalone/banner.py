"""What the person at the terminal sees: addresses, and two lines to try."""

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from millrace import __version__
from millrace.installation import default_data_directory
from millrace_runtime.service import Endpoint
from standalone import logfile, sample
from standalone.data_directory import DataDirectory


class Banner:
    """Writes to the terminal (stdout)."""

    def __init__(self, directory: DataDirectory, places: Mapping[str, Endpoint], port_offset: int) -> None:
        self._directory = directory
        self._places = places
        self._port_offset = port_offset
        self._console = Console()

    @contextmanager
    def replaying(self, total: int) -> Iterator[Callable[[int], None]]:
        """A progress bar for the sample; on something else than a terminal, one line."""
        if not self._console.is_terminal:
            self._line(f"First start: replaying a sample of {total} webhook payloads.")
            yield lambda sent: None
            return
        with Progress(
            TextColumn("First start: replaying a sample"),
            BarColumn(),
            MofNCompleteColumn(),
            console=self._console,
            transient=True,
        ) as progress:
            task = progress.add_task("", total=total)
            yield lambda sent: progress.update(task, completed=sent)

    def show(self, *, with_sample: bool) -> None:
        """Addresses and commands; everything answers when this is printed."""
        self._console.print(self._table(), crop=False)
        if with_sample:
            first, last = sample.truth().first_day, sample.truth().last_day
        else:
            first = last = str(datetime.now(UTC).date())
        self._line(f"data  {self._directory.root}")
        self._line(f"log   {self._directory.logs / logfile.NAME}")
        self._line("\nTry, in another terminal:\n")
        self._line(f"  {self._curl_id()}\n")
        self._line(f"  {self._curl_query(first)}\n")
        self._line(f"  {self._cli(first, last)}\n")
        self._line("Ctrl-C stops.")

    def trouble(self, text: str) -> None:
        """Something that the person should know, on stderr."""
        sys.stderr.write(f"millrace: {text}\n")

    def stopping(self) -> None:
        """After Ctrl-C: requests in progress are finished."""
        self._line("Stopping: requests in progress finish first.")

    def _table(self) -> Table:
        rows = [
            (
                name,
                f"http://{place.host}:{place.http_port}",
                f"{place.host}:{place.grpc_port}",
                f"http://{place.host}:{place.management_port}",
            )
            for name, place in self._places.items()
        ]
        table = Table(title=f"Millrace {__version__}", title_justify="left", box=None, padding=(0, 2, 0, 0))
        for title, *cells in zip(("service", "HTTP", "gRPC", "management"), *rows, strict=True):
            # Addresses stay whole, however narrow the terminal is.
            table.add_column(title, no_wrap=True, min_width=max(map(len, cells)))
        for row in rows:
            table.add_row(*row)
        return table

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _key_header(self) -> str:
        """The header with the user key, read from the file when the line is run: no secret on the screen."""
        path = shlex.quote(str(self._directory.credentials))
        return '-H "X-API-Key: $(sed -n ' + r"""'s/.*"user_key": *"\([^"]*\)".*/\1/p' """ + f'{path})"'

    def _curl_id(self) -> str:
        url = f"http://{self._host_port('id-service')}/api/v1/generate"
        body = """'{"workspace":"demo","group":"default","biz_tag":"order-id"}'"""
        return f"curl -s {self._key_header()} -H 'Content-Type: application/json' -d {body} {url}"

    def _curl_query(self, day: str) -> str:
        url = f"http://{self._host_port('query-service')}/api/v1/messages?start={day}&end={day}&limit=3"
        return f"curl -s {self._key_header()} '{url}'"

    def _cli(self, first: str, last: str) -> str:
        words = [_command(), "query", "--start", first, "--end", last, "--limit", "10"]
        if self._directory.root != default_data_directory({}):
            words += ["--data", str(self._directory.root)]
        if self._port_offset:
            words += ["--port-offset", str(self._port_offset)]
        return shlex.join(words)

    def _host_port(self, service: str) -> str:
        place = self._places[service]
        return f"{place.host}:{place.http_port}"


def _command() -> str:
    """`millrace` as another terminal can call it: by name where PATH has this one, else by path."""
    here = Path(os.path.abspath(sys.argv[0]))  # noqa: PTH100 a symbolic link stays one
    found = shutil.which("millrace")
    if here.name != "millrace":
        return "millrace"
    return "millrace" if found and Path(found) == here else str(here)
