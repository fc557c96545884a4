"""The four services behind TLS, each as its own process, called by each other and by the clients of the SDK."""

from __future__ import annotations

import socket
import ssl
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import msgspec
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from millrace import Client
from millrace.errors import UnreachableError
from millrace_runtime.service import PORTS, Endpoint
from millrace_testkit.ports import free_offset
from millrace_testkit.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SERVICES = sorted(PORTS)
PATHS = {"ingest-service": "/health"}
WITHIN_S = 10.0


@dataclass(frozen=True)
class Secured:
    """Four processes with one certificate; `ca_file` is its authority, `other_ca_file` somebody else's."""

    offset: int
    ca_file: Path
    other_ca_file: Path
    credentials: dict[str, str]

    def endpoint(self, service: str) -> Endpoint:
        return PORTS[service].shifted(self.offset).on("127.0.0.1")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(directory / "other.pem"))
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.cert_chain_pems[0].write_to_path(str(directory / "server.pem"))
    certificate.private_key_pem.write_to_path(str(directory / "server.key"))
    offset = free_offset()
    tls = {
        "TLS_CERT_FILE": str(directory / "server.pem"),
        "TLS_KEY_FILE": str(directory / "server.key"),
        "CA_FILE": str(directory / "ca.pem"),
        "PORT_OFFSET": str(offset),
    }
    with Stack.embedded(directory / "installation") as stack:
        auth = stack.auth(**tls)
        others = {**tls, "AUTH_URL": f"https://{stack.auth_address}"}
        for process in (auth, stack.ids(**others), stack.query(**others), stack.door(**others)):
            process.wait_ready()
        credentials = msgspec.json.decode(stack.credentials.read_bytes(), type=dict[str, str])
        yield Secured(offset, directory / "ca.pem", directory / "other.pem", credentials)


def get(url: str, ca_file: Path, **more: Any) -> httpx.Response:
    context = ssl.create_default_context(cafile=ca_file)
    with httpx.Client(verify=context, trust_env=False, timeout=WITHIN_S, **more) as client:
        return client.get(url)


def serving(channel: grpc.Channel) -> bool:
    with channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=WITHIN_S)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@pytest.mark.parametrize("service", SERVICES)
def test_http_is_answered_over_tls_and_only_so(secured: Secured, service: str) -> None:
    address = f"localhost:{secured.endpoint(service).http_port}"
    path = PATHS.get(service, "/api-docs/openapi.json")

    assert get(f"https://{address}{path}", secured.ca_file).status_code == 200
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        get(f"https://{address}{path}", secured.other_ca_file)
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://{address}{path}", trust_env=False, timeout=WITHIN_S)


@pytest.mark.parametrize("service", SERVICES)
def test_grpc_is_answered_over_tls_and_only_so(secured: Secured, service: str) -> None:
    address = f"localhost:{secured.endpoint(service).grpc_port}"

    assert serving(grpc.secure_channel(address, grpc.ssl_channel_credentials(secured.ca_file.read_bytes())))
    other = grpc.ssl_channel_credentials(secured.other_ca_file.read_bytes())
    for refused in (grpc.secure_channel(address, other), grpc.insecure_channel(address)):
        with pytest.raises(grpc.RpcError) as error:
            serving(refused)
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("port", ["http_port", "grpc_port"])
def test_nothing_older_than_tls_1_2_is_spoken(secured: Secured, service: str, port: str) -> None:
    def handshake(version: ssl.TLSVersion) -> str | None:
        context = ssl.create_default_context(cafile=secured.ca_file)
        context.set_alpn_protocols(["h2", "http/1.1"])
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # to ask for an old version is the point
            context.minimum_version = context.maximum_version = version
        address = ("127.0.0.1", getattr(secured.endpoint(service), port))
        with (
            socket.create_connection(address, WITHIN_S) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as encrypted,
        ):
            return encrypted.version()

    assert handshake(ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert handshake(ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    with pytest.raises(ssl.SSLError):
        handshake(ssl.TLSVersion.TLSv1_1)


@pytest.mark.parametrize("service", SERVICES)
def test_the_management_port_is_plain(secured: Secured, service: str) -> None:
    port = secured.endpoint(service).management_port
    assert httpx.get(f"http://127.0.0.1:{port}/live", trust_env=False).status_code == 200


def test_clients_and_services_trust_the_file_of_authorities(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call needs a key check, which the services make by TLS too."""
    monkeypatch.setenv("MILLRACE_URL", f"https://localhost:{secured.endpoint('ingest-service').http_port}")
    monkeypatch.setenv("MILLRACE_API_KEY", secured.credentials["user_key"])
    monkeypatch.setenv("MILLRACE_CA_FILE", str(secured.ca_file))
    with Client() as client:
        assert len(client.publish([{"guid": "g", "notify_type": 9, "data": {}}])) == 1
        assert client.count("2026-01-01", "2026-01-02") == 0
        assert client.generate("order-id").id == "1000000000000"

    monkeypatch.setenv("MILLRACE_CA_FILE", str(secured.other_ca_file))
    with Client(timeout_s=WITHIN_S) as client, pytest.raises(UnreachableError):
        client.count("2026-01-01", "2026-01-02")
