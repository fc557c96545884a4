"""TLS of a service's HTTP and gRPC ports.

Certificate and key are read once, when the process starts; a renewed pair needs a restart. The management port
stays without TLS: it is for probes and scrapers of the same network, and tells nothing that a key guards.
"""

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field

from millrace_runtime.settings import Settings, SettingsError

CERT_FILE = "MILLRACE_TLS_CERT_FILE"
KEY_FILE = "MILLRACE_TLS_KEY_FILE"


@dataclass(frozen=True, slots=True)
class ServerTls:
    """A certificate chain and its private key, checked to belong together; the files are where they came from."""

    certificate_file: Path
    key_file: Path
    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)


class TlsSettings(Settings):
    """Settings of a process that serves HTTP or gRPC; both or neither."""

    tls_cert_file: Path | None = Field(
        default=None, description="certificate chain of the HTTP and gRPC ports in PEM; plain without"
    )
    tls_key_file: Path | None = Field(
        default=None, description="its private key in PEM, without a passphrase"
    )

    def server_tls(self) -> ServerTls | None:
        """What the ports are served with, None for plain.

        Raises:
            SettingsError: one of the two is missing, unreadable or not what it should be, or they do not
                belong together; the text names the setting.
        """
        if self.tls_cert_file is None and self.tls_key_file is None:
            return None
        if self.tls_cert_file is None:
            raise SettingsError(f"{CERT_FILE} is not set: {KEY_FILE} needs the certificate of the key")
        if self.tls_key_file is None:
            raise SettingsError(f"{KEY_FILE} is not set: {CERT_FILE} needs the key of the certificate")
        certificate = read_setting_file(CERT_FILE, self.tls_cert_file)
        key = read_setting_file(KEY_FILE, self.tls_key_file)
        _require_pair(self.tls_cert_file, self.tls_key_file)
        return ServerTls(self.tls_cert_file, self.tls_key_file, certificate, key)


def read_setting_file(setting: str, file: Path) -> bytes:
    """The content of a file that a setting names. Raises SettingsError naming the setting."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{setting}: the file cannot be read: {error.strerror}") from None


def _require_pair(certificate: Path, key: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A key under a passphrase would otherwise ask for it at the terminal.
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except _PassphraseAskedError:
        raise SettingsError(f"{KEY_FILE}: the key has a passphrase; give one without") from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise SettingsError(
                f"{KEY_FILE}: the key does not belong to the certificate of {CERT_FILE}"
            ) from None
        raise SettingsError(
            f"{_at_fault(certificate)}: the file does not hold what it should, in PEM"
        ) from None


class _PassphraseAskedError(Exception):
    """The key is encrypted."""


def _no_passphrase() -> str:
    raise _PassphraseAskedError


def _at_fault(certificate: Path) -> str:
    """Which of the two settings names a file that OpenSSL cannot use."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=certificate)
    except ssl.SSLError:
        return CERT_FILE
    return KEY_FILE
