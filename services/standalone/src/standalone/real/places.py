"""Where everything of an installation lies and listens."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

from millrace.installation import default_data_directory
from millrace_runtime.listen import probe
from millrace_runtime.service import PORT_OPTION, PROCESS_PORTS
from standalone.data_directory import OPTION, DataDirectory, DataDirectoryError
from standalone.ports import HOST, probe_ports

FIRST_SERVER_PORT = 23_200
"""The servers' ports follow each other from here on, plus the offset."""

SERVER_PORTS = 8


def default_root() -> Path:
    """`MILLRACE_DATA`, else a directory beside that of `millrace up`, whose databases are others.

    For root below /var/lib, since PostgreSQL, which refuses root, has to come there as another user.
    """
    if os.environ.get("MILLRACE_DATA"):
        return default_data_directory()
    if os.geteuid() == 0:
        return Path("/var/lib/millrace-real")
    return default_data_directory().with_name("millrace-real")


def servers(directory: DataDirectory) -> Path:
    """Data and logs of the servers."""
    return directory.root / "servers"


def objects(directory: DataDirectory) -> Path:
    """Bodies that are too large for Kafka."""
    return directory.root / "objects"


def server_ports(port_offset: int) -> Callable[[], int]:
    """Gives the servers' ports, one after the other."""
    return itertools.count(FIRST_SERVER_PORT + port_offset).__next__


def probe_all(port_offset: int) -> None:
    """Raises PortTakenError, naming port and option, when any port of the installation is in use."""
    probe_ports(port_offset)
    own = [*PROCESS_PORTS.values(), *range(FIRST_SERVER_PORT, FIRST_SERVER_PORT + SERVER_PORTS)]
    for port in own:
        probe(HOST, port + port_offset, PORT_OPTION)


def check_reachable(root: Path) -> None:
    """Raises DataDirectoryError when we are root and another user cannot come to `root`."""
    if os.geteuid() != 0:
        return
    for parent in root.parents:
        if parent.exists() and not parent.stat().st_mode & 0o001:
            raise DataDirectoryError(
                f"PostgreSQL refuses to run as root, and no other user may enter {parent}: "
                f"choose another data directory with {OPTION}"
            )
