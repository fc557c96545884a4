"""Certificates of the secured servers and their clients, made anew for each run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

HOSTS = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class Certificates:
    """Files in PEM format in one directory.

    `ca` signed `server` (for 127.0.0.1 and localhost), `other_host` (for another host) and `client`; `other_ca`
    signed nothing. Keys are PKCS #8.
    """

    directory: Path

    @property
    def ca(self) -> Path:
        """What clients and servers trust."""
        return self.directory / "ca.pem"

    @property
    def other_ca(self) -> Path:
        """An authority that none of these certificates comes from."""
        return self.directory / "other-ca.pem"

    def certificate(self, owner: str) -> Path:
        """Certificate of `server`, `other_host` or `client`."""
        return self.directory / f"{owner}.pem"

    def key(self, owner: str) -> Path:
        """The private key to it."""
        return self.directory / f"{owner}.key"

    def both(self, owner: str) -> Path:
        """Key and certificate in one file, as Kafka's brokers want them."""
        return self.directory / f"{owner}.both.pem"

    @classmethod
    def make(cls, directory: Path) -> Self:
        """Make all of them below `directory`, readable by every user of this host: they guard nothing."""
        import trustme

        made = cls(directory)
        directory.mkdir(mode=0o755)
        authority = trustme.CA(organization_name="Millrace tests")
        authority.cert_pem.write_to_path(str(made.ca))
        trustme.CA(organization_name="Somebody else").cert_pem.write_to_path(str(made.other_ca))
        issued = {
            "server": authority.issue_cert(*HOSTS),
            "other_host": authority.issue_cert("elsewhere.example"),
            "client": authority.issue_cert("client.example"),
        }
        for owner, certificate in issued.items():
            chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
            key = _pkcs8(certificate.private_key_pem.bytes())
            made.certificate(owner).write_bytes(chain)
            made.key(owner).write_bytes(key)
            made.both(owner).write_bytes(key + chain)
        return made


def _pkcs8(pem: bytes) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return serialization.load_pem_private_key(pem, None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
