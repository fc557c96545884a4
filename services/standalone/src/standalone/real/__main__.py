"""`python -m standalone.real [--data DIR] [--port-offset N] [--no-sample]`: `make up`."""

import argparse
import os
import sys
from functools import partial
from pathlib import Path

from millrace_runtime.listen import ListenError, PortTakenError
from millrace_runtime.process import run
from standalone.data_directory import DataDirectoryError, owned
from standalone.logfile import logging_to
from standalone.real.places import check_reachable, default_root, objects, probe_all


def main() -> int:
    """Serve until Ctrl-C; 0 after a clean stop, 1 when it could not start."""
    parser = argparse.ArgumentParser(
        prog="make up",
        description="Start Millrace over Kafka, PostgreSQL, Redis and etcd on this host and serve until Ctrl-C.",
    )
    parser.add_argument("--data", type=Path, help=f"data directory (default: {default_root()})")
    parser.add_argument(
        "--port-offset",
        type=int,
        default=int(os.environ.get("MILLRACE_PORT_OFFSET") or 0),
        help="number added to every port (default: %(default)s)",
    )
    parser.add_argument(
        "--no-sample", action="store_true", help="do not send the sample on the first start of a directory"
    )
    arguments = parser.parse_args()
    root = (arguments.data or default_root()).expanduser().absolute()
    try:
        check_reachable(root)
        with owned(root) as directory:
            probe_all(arguments.port_offset)
            objects(directory).mkdir(exist_ok=True)
            with logging_to(directory.logs):
                # Imports of seconds: not before it is sure that there is something to do.
                from standalone.real.up import serve
                from standalone.up import Options

                return run(partial(serve, directory, Options(arguments.port_offset, not arguments.no_sample)))
    except (DataDirectoryError, PortTakenError, ListenError) as error:
        sys.stderr.write(f"millrace: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
