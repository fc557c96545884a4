"""Where an installation answers, and with which key.

An installation is named in one of two ways:

- `MILLRACE_URL` = `http(s)://host[:port]`, the ingest-service's HTTP door. All other ports follow
  from it: the offset of `port` from 8000 is added to every port of the table below; without a port
  the offset is 0. `https` means TLS on every HTTP and gRPC port; the certificate must be signed by one
  of `MILLRACE_CA_FILE`, else by a public authority. The key is `MILLRACE_API_KEY` and nothing else, so
  that a local key never travels to another host.
- otherwise the one that `millrace up` runs here: 127.0.0.1 with the offset `MILLRACE_PORT_OFFSET`;
  the key is `MILLRACE_API_KEY`, else `user_key` of `credentials.json` in the data directory
  (`MILLRACE_DATA`, else `millrace` below `XDG_DATA_HOME`, else `~/.local/share/millrace`).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec

from millrace.errors import InstallationError

ServiceName = Literal["id-service", "ingest-service", "query-service", "auth-service"]
Name = ServiceName | Literal["relay", "lake-writer", "maintenance"]
"""Of whatever has a management port."""


class Ports(NamedTuple):
    """The ports of a service at offset 0."""

    http: int
    grpc: int
    management: int


PORTS: Mapping[ServiceName, Ports] = {
    "id-service": Ports(8080, 50051, 9091),
    "ingest-service": Ports(8000, 50052, 9092),
    "query-service": Ports(8081, 50053, 9093),
    "auth-service": Ports(8082, 50054, 9094),
}
PROCESS_PORTS: Mapping[Name, int] = {"relay": 9095, "lake-writer": 9096, "maintenance": 9097}
"""Management ports of processes that run alone in real mode."""

DOOR_PORT = PORTS["ingest-service"].http
MIN_OFFSET = 1 - min(min(ports) for ports in PORTS.values())
MAX_OFFSET = 65_535 - max(max(ports) for ports in PORTS.values())


class Credentials(msgspec.Struct, frozen=True):
    """Content of `credentials.json`."""

    workspace: str
    admin_key: str
    user_key: str


@dataclass(frozen=True, slots=True)
class Installation:
    """Addresses of the four services and the key to show them."""

    host: str = "127.0.0.1"
    port_offset: int = 0
    secure: bool = False
    api_key: str | None = None
    # Where the key was looked for in vain; None when it was not looked for in a file.
    credentials_path: Path | None = None
    # Certificates that may sign the services', in PEM; None for the public authorities'.
    ca_file: Path | None = None

    def http_url(self, service: ServiceName) -> str:
        """Base URL of a service's HTTP API, without a slash at the end."""
        return f"{self._scheme}://{self._address(PORTS[service].http)}"

    def management_url(self, name: Name) -> str:
        """Base URL of a service's or process's `/live`, `/ready` and `/metrics`, which are never behind TLS."""
        service = next((service for service in PORTS if service == name), None)
        port = PROCESS_PORTS[name] if service is None else PORTS[service].management
        return f"http://{self._address(port)}"

    def grpc_address(self, service: ServiceName) -> str:
        """`host:port` of a service's gRPC API."""
        return self._address(PORTS[service].grpc)

    def require_key(self) -> str:
        """The API key; InstallationError that says where to get one when there is none."""
        if self.api_key:
            return self.api_key
        if self.credentials_path is not None:
            raise InstallationError(
                f"no installation in {self.credentials_path.parent} (it has no readable credentials.json): "
                "start one with `millrace up`, or set MILLRACE_URL and MILLRACE_API_KEY"
            )
        raise InstallationError("no API key: set MILLRACE_API_KEY")

    def workspace(self) -> str:
        """The workspace that the key's text names (ID-57); InstallationError when it names none."""
        name, _, _ = self.require_key().removeprefix("idgen_").rpartition("_")
        if not name or name == "global":
            raise InstallationError("the API key belongs to no workspace: name the workspace")
        return name

    def authorities(self) -> bytes | None:
        """The content of `ca_file`; InstallationError naming the setting when it cannot be used."""
        if self.ca_file is None:
            return None
        try:
            content = self.ca_file.read_bytes()
        except OSError as error:
            raise InstallationError(
                f"MILLRACE_CA_FILE: cannot read {self.ca_file}: {error.strerror}"
            ) from None
        if b"BEGIN CERTIFICATE" not in content:
            raise InstallationError(f"MILLRACE_CA_FILE: {self.ca_file} holds no certificate in PEM")
        return content

    @property
    def _scheme(self) -> str:
        return "https" if self.secure else "http"

    def _address(self, port: int) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{port + self.port_offset}"


def default_data_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """`MILLRACE_DATA`, else `millrace` below `XDG_DATA_HOME` or `~/.local/share`; always absolute."""
    if chosen := environ.get("MILLRACE_DATA"):
        return Path(chosen).expanduser().absolute()
    base = environ.get("XDG_DATA_HOME", "")
    # The XDG specification has relative paths ignored.
    root = Path(base) if Path(base).is_absolute() else Path("~/.local/share").expanduser()
    return root / "millrace"


def find_installation(
    environ: Mapping[str, str] = os.environ,
    *,
    url: str | None = None,
    api_key: str | None = None,
    data: Path | None = None,
    port_offset: int | None = None,
) -> Installation:
    """The installation that the arguments name, else the one that the environment names.

    Raises InstallationError that names the setting at fault.
    """
    key = api_key or environ.get("MILLRACE_API_KEY") or None
    if address := url or environ.get("MILLRACE_URL"):
        secure, host, offset = _parse_url(address)
        ca_file = environ.get("MILLRACE_CA_FILE")
        return Installation(
            host, offset, secure, key, ca_file=Path(ca_file).expanduser() if ca_file else None
        )
    offset = _offset_of(environ) if port_offset is None else port_offset
    _check_offset(offset, "MILLRACE_PORT_OFFSET")
    path = (data or default_data_directory(environ)) / "credentials.json"
    return Installation(
        port_offset=offset,
        api_key=key or _key_of(path),
        credentials_path=path,
    )


def _parse_url(url: str) -> tuple[bool, str, int]:
    try:
        parts = urlsplit(url)
        port = DOOR_PORT if parts.port is None else parts.port
    except ValueError as error:
        raise InstallationError(f"MILLRACE_URL: {error}: {url!r}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise InstallationError(f"MILLRACE_URL must be http(s)://host[:port], not {url!r}")
    _check_offset(port - DOOR_PORT, "MILLRACE_URL")
    return parts.scheme == "https", parts.hostname, port - DOOR_PORT


def _offset_of(environ: Mapping[str, str]) -> int:
    text = environ.get("MILLRACE_PORT_OFFSET") or "0"
    try:
        return int(text)
    except ValueError:
        raise InstallationError(f"MILLRACE_PORT_OFFSET must be a whole number, not {text!r}") from None


def _check_offset(offset: int, setting: str) -> None:
    if not MIN_OFFSET <= offset <= MAX_OFFSET:
        raise InstallationError(
            f"{setting}: with the offset {offset} not every port is within 1 to 65535; "
            f"it must be {MIN_OFFSET} to {MAX_OFFSET}"
        )


def _key_of(path: Path) -> str | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Credentials).user_key
    except OSError:
        return None
    except msgspec.DecodeError as error:
        raise InstallationError(f"{path}: {error}") from None
