"""`query-service COMMAND`: every process of the service by its name."""

import sys

from millrace_runtime.commands import Command, run_command

COMMANDS = (
    Command(
        "server",
        "answers questions about the lake by gRPC, HTTP and Arrow",
        "query_service.processes.server:main",
        "query_service.settings:ServerSettings",
    ),
)


def main() -> None:
    """Run the command of this process's command line and end with its exit code."""
    sys.exit(run_command("query-service", "Questions about the lake, answered.", COMMANDS))
