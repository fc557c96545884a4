"""`ingest-service COMMAND`: every process of the service by its name."""

import sys

from millrace_runtime.commands import Command, run_command

COMMANDS = (
    Command(
        "webhook",
        "the door: takes webhooks and gRPC Publish into the journal",
        "ingest_service.processes.webhook:main",
        "ingest_service.settings_webhook:WebhookSettings",
    ),
    Command(
        "serve",
        "the door as `webhook` does, by options, and says where it is",
        "ingest_service.processes.webhook:serve_command",
        "ingest_service.settings_webhook:WebhookSettings",
        "ingest_service.processes.webhook:add_arguments",
    ),
    Command(
        "relay",
        "the journals of one door to Kafka",
        "ingest_service.processes.relay:main",
        "ingest_service.relay.settings:RelaySettings",
    ),
    Command(
        "lake-writer",
        "the bus to the tables of the lake, exactly once",
        "ingest_service.processes.lake_writer:main",
        "ingest_service.land.settings:LakeWriterSettings",
    ),
    Command(
        "maintenance",
        "keeps the tables in shape: compaction, log upkeep, removal of unneeded files",
        "ingest_service.processes.maintenance:main",
        "ingest_service.keep.settings:MaintenanceSettings",
    ),
    Command(
        "replay",
        "sends journal lines to Kafka again, and ends",
        "ingest_service.processes.replay:main",
        "ingest_service.relay.settings:RelayTarget",
        "ingest_service.processes.replay:add_arguments",
    ),
)


def main() -> None:
    """Run the command of this process's command line and end with its exit code."""
    sys.exit(run_command("ingest-service", "Webhooks in, exactly once into the lake.", COMMANDS))
