"""Every process is deployed in every form, by its name, with settings that it knows and all that it needs."""

from typing import Any

import pytest
from tests.layout.conftest import PROCESSES, Deployed, Process, management_port

BY_NAME = pytest.mark.parametrize("process", PROCESSES, ids=lambda process: process.name)


@BY_NAME
def test_a_process_has_its_name_and_command_everywhere(
    process: Process, deployed: dict[str, Deployed]
) -> None:
    assert deployed[process.name].command == process.command


@BY_NAME
def test_a_process_is_given_settings_that_it_knows(process: Process, deployed: dict[str, Deployed]) -> None:
    assert set(deployed[process.name].environment) - process.settings.names() == set()


@BY_NAME
def test_a_process_is_given_every_setting_that_it_needs(
    process: Process, deployed: dict[str, Deployed]
) -> None:
    assert _required(process) - set(deployed[process.name].environment) == set()


@BY_NAME
def test_compose_probes_a_process_on_its_management_port(process: Process, compose: dict[str, Any]) -> None:
    if process.name == "first-keys":
        return  # ends by itself
    probe = compose["services"][process.name]["healthcheck"]["test"]
    assert probe[-1] == str(management_port(process.name))


def _required(process: Process) -> set[str]:
    """Names of the settings without a default."""
    fields = process.settings.model_fields.items()
    return {f"MILLRACE_{name.upper()}" for name, field in fields if field.is_required()}
