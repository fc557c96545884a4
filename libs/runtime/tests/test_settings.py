from pathlib import Path

import pytest
from pydantic import Field, SecretStr

from millrace_runtime.settings import Settings, SettingsError, edit_distance, report_unknown


class DoorSettings(Settings):
    data: Path = Field(description="the data directory")
    port: int = Field(default=8000, ge=1, le=65535)
    bus_password: SecretStr = SecretStr("")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DoorSettings.names():
        monkeypatch.delenv(name, raising=False)


def test_fields_are_read_from_prefixed_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_DATA", "/somewhere")
    monkeypatch.setenv("MILLRACE_PORT", "8100")
    settings = DoorSettings.load()
    assert (settings.data, settings.port) == (Path("/somewhere"), 8100)


def test_overrides_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_DATA", "/somewhere")
    assert DoorSettings.load(data=Path("/elsewhere")).data == Path("/elsewhere")


def test_every_problem_is_named_at_once_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_PORT", "70000")
    with pytest.raises(SettingsError) as caught:
        DoorSettings.load()
    missing, wrong = str(caught.value).splitlines()
    assert missing == "MILLRACE_DATA is not set: set it (the data directory)"
    assert wrong.startswith("MILLRACE_PORT is wrong: ")
    assert "65535" in wrong


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_DATA", "")
    with pytest.raises(SettingsError, match="MILLRACE_DATA is not set"):
        DoorSettings.load()


def test_values_stay_out_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_DATA", "/somewhere")
    monkeypatch.setenv("MILLRACE_PORT", "hunter2")
    with pytest.raises(SettingsError) as caught:
        DoorSettings.load()
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_settings_cannot_be_changed_later() -> None:
    settings = DoorSettings.load(data=Path("/somewhere"))
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1


def test_names_are_the_variables_of_the_class() -> None:
    assert DoorSettings.names() == {"MILLRACE_DATA", "MILLRACE_PORT", "MILLRACE_BUS_PASSWORD"}


def test_a_strange_name_is_reported_with_the_nearest_known_one() -> None:
    environ = {"MILLRACE_PORTABILITY": "1", "PATH": "/bin", "MILLRACE_PORT": "1"}
    (warning,) = report_unknown(environ, DoorSettings.names())
    assert "MILLRACE_PORTABILITY" in warning
    assert "MILLRACE_PORT" in warning


@pytest.mark.parametrize("name", ["MILLRACE_PROT", "MILLRACE_DATTA", "MILLRACE_POR"])
def test_a_misspelt_name_is_an_error(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is not a setting; did you mean MILLRACE_"):
        report_unknown({name: "1"}, DoorSettings.names())


def test_names_of_the_whole_installation_are_known_everywhere() -> None:
    assert report_unknown({"MILLRACE_URL": "x", "MILLRACE_API_KEY": "y"}, DoorSettings.names()) == []


@pytest.mark.parametrize(
    ("left", "right", "edits"),
    [("", "", 0), ("abc", "abc", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("PROT", "PORT", 2)],
)
def test_edit_distance(left: str, right: str, edits: int) -> None:
    assert edit_distance(left, right) == edit_distance(right, left) == edits
