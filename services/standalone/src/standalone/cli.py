"""`millrace up`. Light to import: the command line loads it to list its commands."""

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from millrace.cli.options import Data, PortOffset

if TYPE_CHECKING:
    from standalone.data_directory import DataDirectory


def up(
    data: Data = None,
    port_offset: PortOffset = 0,
    sample: Annotated[
        bool,
        typer.Option(
            "--sample/--no-sample", help="Replay sample webhooks on the first start of a directory."
        ),
    ] = True,
) -> None:
    """Start everything in this process, embedded, and serve until Ctrl-C."""
    from millrace.installation import default_data_directory
    from standalone.data_directory import DataDirectoryError, owned

    root = (data or default_data_directory()).expanduser().absolute()
    try:
        with owned(root) as directory:
            code = _run(directory, port_offset, sample)
    except DataDirectoryError as error:
        sys.stderr.write(f"millrace: {error}\n")
        code = 1
    raise typer.Exit(code)


def _run(directory: "DataDirectory", port_offset: int, sample: bool) -> int:
    from millrace_runtime.listen import ListenError, PortTakenError
    from millrace_runtime.process import run
    from standalone.logfile import logging_to
    from standalone.memory import prefer_one_allocator
    from standalone.ports import probe_ports

    try:
        probe_ports(port_offset)
    except (PortTakenError, ListenError) as error:
        sys.stderr.write(f"millrace: {error}\n")
        return 1
    with logging_to(directory.logs) as path:
        prefer_one_allocator()
        # Importing the services takes most of the start: not before it is sure that they can run.
        from standalone.up import Options, serve

        code = run(partial(serve, directory, Options(port_offset, sample)))
    if code == 1:
        sys.stderr.write(f"millrace: stopped by an error; {path} has the cause\n")
    return code
