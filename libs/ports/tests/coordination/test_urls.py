"""Settings of coordination that cannot be used name themselves and repeat no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace_ports.coordination import CoordinationUrlError, EtcdSecurity, open_coordination


@pytest.mark.parametrize(
    "url",
    [
        "",
        "local:",
        "/var/lib",
        "zookeeper://user:secret@host",
        "etcd:",
        "etcd://",
        "etcd://user:secret@host:2379",
        "etcd://host:port",
        "etcd://host:2379,",
        "etcd://host:2379/secret",
        "etcd://host:2379?password=secret",
    ],
)
async def test_a_url_that_names_no_backend_names_the_variable(url: str) -> None:
    with pytest.raises(CoordinationUrlError, match="MILLRACE_COORDINATION") as caught:
        open_coordination(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"cert_file": Path("c"), "ca_file": Path("a")}, "MILLRACE_ETCD_KEY_FILE"),
        ({"key_file": Path("k"), "ca_file": Path("a")}, "MILLRACE_ETCD_CERT_FILE"),
        ({"cert_file": Path("c"), "key_file": Path("k")}, "MILLRACE_ETCD_CA_FILE"),
        ({"username": "somebody"}, "MILLRACE_ETCD_PASSWORD"),
        ({"password": "secret"}, "MILLRACE_ETCD_USERNAME"),
    ],
)
def test_halves_of_a_setting_are_named(given: dict[str, Path], named: str) -> None:
    with pytest.raises(CoordinationUrlError, match=named) as caught:
        EtcdSecurity(**given)  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


async def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(CoordinationUrlError, match=r"MILLRACE_ETCD_CA_FILE.*ca\.pem"):
        open_coordination("etcd://127.0.0.1", etcd=EtcdSecurity(ca_file=tmp_path / "ca.pem"))
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(CoordinationUrlError, match=r"MILLRACE_ETCD_CA_FILE.*ca\.pem"):
        open_coordination("etcd://127.0.0.1", etcd=EtcdSecurity(ca_file=tmp_path / "ca.pem"))


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(EtcdSecurity(username="somebody", password="secret"))
