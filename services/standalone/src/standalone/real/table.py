"""What the person at the terminal sees of real mode beside the services: processes, servers, keys."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as RichTable

from millrace_testkit.real import RealStack
from standalone.data_directory import DataDirectory
from standalone.ports import HOST
from standalone.real.places import servers
from standalone.real.supervisor import Supervised


class Table:
    """Writes to the terminal (stdout)."""

    def __init__(self, directory: DataDirectory) -> None:
        self._directory = directory
        self._console = Console()

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, stack: RealStack, running: Sequence[Supervised]) -> None:
        """Everything that runs; all of it is ready when this is printed."""
        rows = [(name, server.url, str(server.log_path)) for name, server in stack.servers.items()]
        rows += [
            (
                supervised.plan.name,
                f"http://{HOST}:{supervised.plan.management_port}/ready",
                str(supervised.log_path),
            )
            for supervised in running
        ]
        table = RichTable(
            title="Real mode on this host", title_justify="left", box=None, padding=(0, 2, 0, 0)
        )
        for title, *cells in zip(("", "at", "log"), *rows, strict=True):
            table.add_column(title, no_wrap=True, min_width=max(map(len, cells)))
        for row in rows:
            table.add_row(*row)
        self._console.print(table, crop=False)
        self.say(f"\nfirst keys  {self._directory.credentials}  (workspace, admin_key, user_key)")
        self.say(f"servers     {servers(self._directory)}\n")
