"""Options that every command takes, and the installation that they name."""

from pathlib import Path
from typing import Annotated

import typer

from millrace.installation import MAX_OFFSET, Installation, find_installation

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="MILLRACE_DATA",
        show_default="~/.local/share/millrace",
        help="Data directory; its credentials.json has the key.",
    ),
]
PortOffset = Annotated[
    int,
    typer.Option(
        "--port-offset",
        envvar="MILLRACE_PORT_OFFSET",
        min=0,
        max=MAX_OFFSET,
        help="Number added to every port.",
    ),
]


def installation(data: Path | None, port_offset: int) -> Installation:
    """The one that MILLRACE_URL names, else the local one with these options."""
    return find_installation(data=data, port_offset=port_offset)
