"""`id-service COMMAND`: every process of the service by its name."""

import sys

from millrace_runtime.commands import Command, run_command

COMMANDS = (
    Command(
        "server",
        "serves ids by gRPC and HTTP",
        "id_service.processes.server:main",
        "id_service.processes.server:ServerSettings",
    ),
)


def main() -> None:
    """Run the command of this process's command line and end with its exit code."""
    sys.exit(run_command("id-service", "Ids for everybody.", COMMANDS))
