"""What an etcd asks of its clients, as the settings MILLRACE_ETCD_* give it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from millrace_ports.coordination.errors import CoordinationUrlError


@dataclass(frozen=True, slots=True)
class EtcdSecurity:
    """TLS when `ca_file` is set (MILLRACE_ETCD_CA_FILE; the system's certificates do not count); with
    `cert_file` and `key_file` the client shows a certificate; with `username` and `password` it logs in.

    Raises CoordinationUrlError, naming the settings, for halves: a certificate without key or CA file, a user
    name without password.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise CoordinationUrlError("MILLRACE_ETCD_CERT_FILE and MILLRACE_ETCD_KEY_FILE need each other")
        if self.cert_file is not None and self.ca_file is None:
            raise CoordinationUrlError(
                "MILLRACE_ETCD_CERT_FILE needs MILLRACE_ETCD_CA_FILE, which turns on TLS"
            )
        if (self.username is None) != (self.password is None):
            raise CoordinationUrlError("MILLRACE_ETCD_USERNAME and MILLRACE_ETCD_PASSWORD need each other")
