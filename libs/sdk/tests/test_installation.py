"""Finding an installation: arguments, then the environment, then the data directory."""

import json
from pathlib import Path

import pytest

from millrace.errors import InstallationError
from millrace.installation import PORTS, PROCESS_PORTS, default_data_directory, find_installation
from millrace_runtime.service import PORTS as SERVED
from millrace_runtime.service import PROCESS_PORTS as SERVED_ALONE

KEY = "idgen_demo_" + "a" * 32


def write_credentials(data: Path) -> None:
    data.mkdir(parents=True, exist_ok=True)
    content = {"workspace": "demo", "admin_key": "idgen_global_x", "user_key": KEY}
    (data / "credentials.json").write_text(json.dumps(content))


def test_ports_are_those_that_the_services_serve() -> None:
    served = {
        name: (place.http_port, place.grpc_port, place.management_port) for name, place in SERVED.items()
    }
    assert served == {name: tuple(ports) for name, ports in PORTS.items()}
    assert SERVED_ALONE == PROCESS_PORTS


def test_a_url_moves_every_port_by_its_offset_from_8000() -> None:
    found = find_installation({"MILLRACE_URL": "http://lake.example:9100", "MILLRACE_API_KEY": KEY})
    assert found.http_url("ingest-service") == "http://lake.example:9100"
    assert found.http_url("query-service") == "http://lake.example:9181"
    assert found.grpc_address("id-service") == "lake.example:51151"
    assert found.management_url("auth-service") == "http://lake.example:10194"
    assert found.require_key() == KEY


def test_a_url_without_a_port_means_the_table() -> None:
    found = find_installation({"MILLRACE_URL": "https://lake.example/"})
    assert found.http_url("id-service") == "https://lake.example:8080"
    assert found.secure


def test_an_ipv6_host_is_bracketed() -> None:
    found = find_installation({"MILLRACE_URL": "http://[::1]:8000"})
    assert found.grpc_address("query-service") == "[::1]:50053"


def test_a_local_key_is_never_sent_to_a_url(tmp_path: Path) -> None:
    write_credentials(tmp_path)
    found = find_installation({"MILLRACE_URL": "http://elsewhere:8000", "MILLRACE_DATA": str(tmp_path)})
    with pytest.raises(InstallationError, match="MILLRACE_API_KEY"):
        found.require_key()


def test_the_local_installation_is_found_by_data_directory_and_offset(tmp_path: Path) -> None:
    write_credentials(tmp_path)
    found = find_installation({"MILLRACE_DATA": str(tmp_path), "MILLRACE_PORT_OFFSET": "7"})
    assert found.http_url("ingest-service") == "http://127.0.0.1:8007"
    assert found.require_key() == KEY
    assert found.workspace() == "demo"


def test_arguments_win_over_the_environment(tmp_path: Path) -> None:
    write_credentials(tmp_path / "other")
    environ = {"MILLRACE_DATA": str(tmp_path), "MILLRACE_PORT_OFFSET": "7"}
    found = find_installation(environ, data=tmp_path / "other", port_offset=9)
    assert found.http_url("ingest-service") == "http://127.0.0.1:8009"
    assert found.require_key() == KEY


def test_a_data_directory_without_credentials_says_how_to_start(tmp_path: Path) -> None:
    found = find_installation({"MILLRACE_DATA": str(tmp_path)})
    with pytest.raises(InstallationError, match="millrace up") as caught:
        found.require_key()
    assert str(tmp_path) in str(caught.value)


def test_broken_credentials_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text('{"workspace": "demo"')
    with pytest.raises(InstallationError, match=r"credentials\.json"):
        find_installation({"MILLRACE_DATA": str(tmp_path)})


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"MILLRACE_URL": "lake.example:8000"}, "MILLRACE_URL"),
        ({"MILLRACE_URL": "ftp://lake.example"}, "MILLRACE_URL"),
        ({"MILLRACE_URL": "http://lake.example:port"}, "MILLRACE_URL"),
        ({"MILLRACE_URL": "http://lake.example:8000/path"}, "MILLRACE_URL"),
        ({"MILLRACE_URL": "http://lake.example:40000"}, "MILLRACE_URL"),
        ({"MILLRACE_PORT_OFFSET": "many"}, "MILLRACE_PORT_OFFSET"),
        ({"MILLRACE_PORT_OFFSET": "60000"}, "MILLRACE_PORT_OFFSET"),
    ],
)
def test_a_malformed_setting_is_named(environ: dict[str, str], named: str) -> None:
    with pytest.raises(InstallationError, match=named):
        find_installation(environ)


@pytest.mark.parametrize(
    ("key", "workspace"), [("idgen_a_b_" + "x" * 32, "a_b"), ("idgen_demo_" + "x" * 32, "demo")]
)
def test_the_key_names_its_workspace(key: str, workspace: str) -> None:
    assert find_installation({}, api_key=key).workspace() == workspace


def test_an_admin_key_names_no_workspace() -> None:
    with pytest.raises(InstallationError, match="workspace"):
        find_installation({}, api_key="idgen_global_" + "x" * 32).workspace()


def test_the_default_data_directory_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_data_directory({}) == tmp_path / ".local/share/millrace"
    assert default_data_directory({"XDG_DATA_HOME": "/srv/share"}) == Path("/srv/share/millrace")
    assert default_data_directory({"XDG_DATA_HOME": "relative"}) == tmp_path / ".local/share/millrace"
    assert default_data_directory({"MILLRACE_DATA": "/lake", "XDG_DATA_HOME": "/srv"}) == Path("/lake")


def test_only_an_installation_by_url_is_checked_against_authorities(tmp_path: Path) -> None:
    environ = {"MILLRACE_URL": "https://lake.example", "MILLRACE_CA_FILE": str(tmp_path / "ca.pem")}
    found = find_installation(environ)
    assert found.management_url("id-service") == "http://lake.example:9091"
    with pytest.raises(InstallationError, match="MILLRACE_CA_FILE: cannot read"):
        found.authorities()
    (tmp_path / "ca.pem").write_text("nothing of the kind")
    with pytest.raises(InstallationError, match=r"MILLRACE_CA_FILE: .* no certificate"):
        found.authorities()
    assert find_installation({"MILLRACE_CA_FILE": "/ca.pem"}, data=tmp_path).ca_file is None
