"""Calls from one service to another: addresses and channels."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import Field, PlainValidator
from pydantic_settings import NoDecode

from millrace_runtime.logs import request_id
from millrace_runtime.settings import Settings, SettingsError
from millrace_runtime.tls import read_setting_file
from millrace_runtime.tracing import current
from millrace_runtime.tracing.traceparent import HEADER as TRACEPARENT

if TYPE_CHECKING:
    import grpc

CA_FILE = "MILLRACE_CA_FILE"

_ADDRESS = re.compile(r"(?:[^\s/:@\[\]]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Peer:
    """Where another service's gRPC listens: `address` is host:port, `secure` says by TLS."""

    address: str
    secure: bool = False

    @classmethod
    def parse(cls, text: object) -> Self:
        """The peer that `host:port`, `http://host:port` or, by TLS, `https://host:port` names. Raises ValueError."""
        if isinstance(text, cls):
            return text
        scheme, _, address = str(text).rpartition("://")
        found = _ADDRESS.fullmatch(address)
        if scheme not in ("", "http", "https") or found is None or not 1 <= int(found["port"]) <= 65_535:
            raise ValueError("must be host:port, or https://host:port for TLS")
        return cls(address, scheme == "https")


PeerSetting = Annotated[Peer, NoDecode, PlainValidator(Peer.parse)]
"""The type of a field of `Settings` that names another service."""


class CallerSettings(Settings):
    """Settings of a process that calls other services."""

    ca_file: Path | None = Field(
        default=None,
        description="certificates in PEM that may sign those of https peers; else the public authorities'",
    )

    def authorities(self) -> bytes | None:
        """The content of the file, None where none is set. Raises SettingsError naming the setting."""
        if self.ca_file is None:
            return None
        content = read_setting_file(CA_FILE, self.ca_file)
        if b"BEGIN CERTIFICATE" not in content:
            raise SettingsError(f"{CA_FILE}: the file holds no certificate in PEM")
        return content


def call_metadata() -> tuple[tuple[str, str], ...]:
    """What a call to another service takes along of the request being served: its id, and its trace if it has one."""
    metadata = []
    if identity := request_id.get():
        metadata.append(("x-request-id", identity))
    if (span := current.get()) is not None:
        metadata.append((TRACEPARENT, span.traceparent))
    return tuple(metadata)


def open_channel(
    peer: Peer, *, authorities: bytes | None = None, repeated: tuple[str, ...] = ()
) -> "grpc.aio.Channel":
    """A channel that connects with the first call and again by itself, at most 2 s after the peer is back.

    Every call on it must have a deadline. The methods in `repeated` (full names of services or
    `service/method`) are called again when the peer was UNAVAILABLE, within their deadline: only those that
    change nothing belong there.
    """
    import grpc

    options = [*_OPTIONS, ("grpc.service_config", _service_config(repeated))]
    if peer.secure:
        return grpc.aio.secure_channel(peer.address, grpc.ssl_channel_credentials(authorities), options)
    return grpc.aio.insecure_channel(peer.address, options)


_OPTIONS: Final[list[tuple[str, Any]]] = [
    # A proxy of the environment is for the web; services are reached directly.
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A host that vanished without a word is noticed by these, and not when TCP gives up after a quarter hour.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]


def _service_config(repeated: tuple[str, ...]) -> str:
    names = [dict(zip(("service", "method"), name.split("/"), strict=False)) for name in repeated]
    policy = {
        "maxAttempts": 3,
        "initialBackoff": "0.05s",
        "maxBackoff": "0.5s",
        "backoffMultiplier": 3,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    # A peer that is down for all is not asked thrice by all.
    throttling = {"maxTokens": 10, "tokenRatio": 0.5}
    methods = [{"name": names, "retryPolicy": policy}] if names else []
    return json.dumps({"methodConfig": methods, "retryThrottling": throttling})
