"""Where etcd is: the URL, and a channel with the generated stubs for each of its members."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
from aetcd.rpc import rpc_pb2_grpc

from millrace_ports.coordination.errors import CoordinationUrlError
from millrace_ports.coordination.etcd.security import EtcdSecurity

_DEFAULT_PORT = 2379
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),  # the default waits up to two minutes after an outage
    ("grpc.keepalive_time_ms", 10_000),  # etcd refuses more than one in 5 s
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.max_receive_message_length", -1),
)


class Endpoint:
    """One member of the cluster. It connects when it is used first."""

    def __init__(self, host: str, port: int, credentials: grpc.ChannelCredentials | None) -> None:
        self.host = host
        self.port = port
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.place = place
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(place, options=_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(place, credentials, options=_OPTIONS)
        self.kv: Any = rpc_pb2_grpc.KVStub(self._channel)
        self.lease: Any = rpc_pb2_grpc.LeaseStub(self._channel)
        self.watch: Any = rpc_pb2_grpc.WatchStub(self._channel)
        self.auth: Any = rpc_pb2_grpc.AuthStub(self._channel)
        self.maintenance: Any = rpc_pb2_grpc.MaintenanceStub(self._channel)

    async def close(self) -> None:
        """End the connection and every call on it."""
        await self._channel.close(grace=None)


def make_endpoints(url: str, security: EtcdSecurity) -> list[Endpoint]:
    """The members that `etcd://host:port[,host:port]` names. Raises CoordinationUrlError, repeating no secret."""
    credentials = _credentials(security)
    return [Endpoint(host, port, credentials) for host, port in parse_etcd_url(url)]


def parse_etcd_url(url: str) -> list[tuple[str, int]]:
    """Hosts and ports. Raises CoordinationUrlError."""
    try:
        parts = urlsplit(url)
        addresses = [_address(text) for text in parts.netloc.split(",")]
    except ValueError:
        addresses = []
    if not addresses or "@" in url:
        raise CoordinationUrlError(
            "MILLRACE_COORDINATION is malformed; expected etcd://host:port[,host:port] (name and password go into "
            "MILLRACE_ETCD_USERNAME and MILLRACE_ETCD_PASSWORD)"
        )
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise CoordinationUrlError("MILLRACE_COORDINATION: nothing may follow the hosts of etcd://")
    return addresses


def _address(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("no host")
    return parts.hostname, parts.port or _DEFAULT_PORT


def _credentials(security: EtcdSecurity) -> grpc.ChannelCredentials | None:
    if security.ca_file is None:
        return None
    return grpc.ssl_channel_credentials(
        root_certificates=_read(security.ca_file, "MILLRACE_ETCD_CA_FILE"),
        private_key=_read(security.key_file, "MILLRACE_ETCD_KEY_FILE"),
        certificate_chain=_read(security.cert_file, "MILLRACE_ETCD_CERT_FILE"),
    )


def _read(file: Path | None, setting: str) -> bytes | None:
    if file is None:
        return None
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CoordinationUrlError(f"{setting}: cannot read {file}: {error.strerror or error}") from error
    if b"-----BEGIN " not in content:
        raise CoordinationUrlError(f"{setting}: {file} is not in PEM form")
    return content
