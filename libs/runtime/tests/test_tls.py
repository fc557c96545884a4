"""Certificate files that cannot be used are named by their setting, before anything listens."""

import subprocess
from pathlib import Path

import pytest
import trustme

from millrace_runtime.peers import CallerSettings, Peer
from millrace_runtime.settings import SettingsError
from millrace_runtime.tls import TlsSettings

CERT, KEY = "MILLRACE_TLS_CERT_FILE", "MILLRACE_TLS_KEY_FILE"


class Files:
    """PEM files of two certificates."""

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        self.directory = directory
        self.certificate, self.key = self._issued(authority, "one")
        _, self.other_key = self._issued(authority, "two")
        self.nonsense = directory / "nonsense.pem"
        self.nonsense.write_text("nothing of the kind")
        self.absent = directory / "absent.pem"
        self.locked_key = directory / "locked.key"
        subprocess.run(
            [
                "openssl",
                "pkey",
                "-in",
                self.key,
                "-aes256",
                "-passout",
                "pass:hunter2",
                "-out",
                self.locked_key,
            ],
            check=True,
        )

    def _issued(self, authority: trustme.CA, name: str) -> tuple[Path, Path]:
        made = authority.issue_cert(f"{name}.example")
        certificate, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        made.cert_chain_pems[0].write_to_path(str(certificate))
        made.private_key_pem.write_to_path(str(key))
        return certificate, key


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("pem"))


def test_both_or_neither(files: Files) -> None:
    assert TlsSettings.load().server_tls() is None
    loaded = TlsSettings.load(tls_cert_file=files.certificate, tls_key_file=files.key).server_tls()
    assert loaded is not None
    assert loaded.certificate == files.certificate.read_bytes()
    assert "PRIVATE" not in repr(loaded)


@pytest.mark.parametrize(
    ("certificate", "key", "why"),
    [
        ("certificate", None, f"{KEY} is not set"),
        (None, "key", f"{CERT} is not set"),
        ("absent", "key", f"{CERT}: the file cannot be read: No such file"),
        ("certificate", "absent", f"{KEY}: the file cannot be read: No such file"),
        ("directory", "key", f"{CERT}: the file cannot be read: Is a directory"),
        ("nonsense", "key", f"{CERT}: the file does not hold what it should"),
        ("certificate", "nonsense", f"{KEY}: the file does not hold what it should"),
        ("certificate", "other_key", f"{KEY}: the key does not belong to the certificate"),
        ("certificate", "locked_key", f"{KEY}: the key has a passphrase"),
    ],
)
def test_what_cannot_be_used_is_named(
    files: Files, certificate: str | None, key: str | None, why: str
) -> None:
    settings = TlsSettings.load(
        tls_cert_file=certificate and getattr(files, certificate), tls_key_file=key and getattr(files, key)
    )
    with pytest.raises(SettingsError, match=f"^{why}"):
        settings.server_tls()


def test_authorities(files: Files) -> None:
    assert CallerSettings.load().authorities() is None
    assert CallerSettings.load(ca_file=files.certificate).authorities() == files.certificate.read_bytes()
    for file, why in ((files.absent, "cannot be read"), (files.nonsense, "no certificate")):
        with pytest.raises(SettingsError, match=f"^MILLRACE_CA_FILE: the file .*{why}"):
            CallerSettings.load(ca_file=file).authorities()


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("auth:50054", Peer("auth:50054")),
        ("http://10.0.0.1:50054", Peer("10.0.0.1:50054")),
        ("https://auth.example:443", Peer("auth.example:443", secure=True)),
        ("[::1]:50054", Peer("[::1]:50054")),
    ],
)
def test_peers(text: str, peer: Peer) -> None:
    assert Peer.parse(text) == peer


@pytest.mark.parametrize(
    "text",
    [
        "",
        "auth",
        "auth:",
        ":50054",
        "auth:0",
        "auth:65536",
        "auth:port",
        "ftp://a:1",
        "u:p@h:1",
        "h:1/x",
        "::1:5",
    ],
)
def test_what_names_no_peer(text: str) -> None:
    with pytest.raises(ValueError, match="must be host:port"):
        Peer.parse(text)
