"""What the environment can and cannot change of `millrace up`."""

import importlib
from pathlib import Path

import pytest

from millrace_runtime.settings import Settings, SettingsError
from standalone.data_directory import DataDirectory
from standalone.ports import endpoints
from standalone.settings import FIXED, StandaloneSettings, warnings


def test_every_part_works_below_the_data_directory(tmp_path: Path) -> None:
    root = tmp_path / "with space"
    settings = StandaloneSettings.load(DataDirectory(root))
    assert settings.webhook.data == settings.lake_writer.data == settings.maintenance.data == root
    assert settings.query.table_of("messages") == root / "parquet/messages"
    assert settings.query.archive_of("messages") == root / "archive/messages"
    assert settings.auth.credentials_file == root / "credentials.json"
    assert settings.id.id_database_url.file.parent == root / "metadata"


def test_tuning_reaches_its_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_LAND_MAX_ROWS", "123")
    assert StandaloneSettings.load(DataDirectory(tmp_path)).lake_writer.land_max_rows == 123


def test_a_wrong_value_names_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_LAND_MAX_ROWS", "none")
    with pytest.raises(SettingsError, match="MILLRACE_LAND_MAX_ROWS"):
        StandaloneSettings.load(DataDirectory(tmp_path))


def test_a_variable_without_effect_is_said_so() -> None:
    (warning,) = warnings({"MILLRACE_BUS": "kafka://broker:9092", "MILLRACE_DATA": "/lake", "HOME": "/"})
    assert "MILLRACE_BUS has no effect" in warning


def test_a_misspelt_variable_is_an_error_and_an_unknown_one_a_warning() -> None:
    with pytest.raises(SettingsError, match="MILLRACE_LAND_MAX_ROWS"):
        warnings({"MILLRACE_LAND_MAX_ROW": "1"})
    assert len(warnings({"MILLRACE_SOMETHING_ELSE_ALTOGETHER": "1"})) == 1


def test_all_ports_move_together_and_are_local() -> None:
    places = endpoints(100)
    ports = sorted(p for e in places.values() for p in (e.http_port, e.grpc_port, e.management_port))
    assert ports == [8100, 8180, 8181, 8182, 9191, 9192, 9193, 9194, 50151, 50152, 50153, 50154]
    assert {place.host for place in places.values()} == {"127.0.0.1"}


def test_what_is_fixed_here_is_a_setting_of_a_service() -> None:
    for process in (
        "auth_service.processes.server",
        "query_service.settings",
        "ingest_service.land.settings",
    ):
        importlib.import_module(process)

    def every(kind: type[Settings]) -> set[str]:
        return set(kind.names()).union(*map(every, kind.__subclasses__()))

    assert every(Settings) >= FIXED
