"""`auth-service COMMAND`: every process of the service by its name."""

import sys

from millrace_runtime.commands import Command, run_command

COMMANDS = (
    Command(
        "server",
        "keeps workspaces and API keys and says who may ask",
        "auth_service.processes.server:main",
        "auth_service.settings:ServerSettings",
    ),
    Command(
        "bootstrap",
        "makes the first keys, writes them to a file, and ends",
        "auth_service.processes.bootstrap:main",
        "auth_service.settings:BootstrapSettings",
    ),
)


def main() -> None:
    """Run the command of this process's command line and end with its exit code."""
    sys.exit(run_command("auth-service", "Workspaces, API keys, scopes.", COMMANDS))
