"""A door, served for real on free ports."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingest_service.compose_webhook import compose_webhook
from ingest_service.settings_webhook import WebhookSettings
from millrace_runtime.auth import Principal
from millrace_runtime.clock import SYSTEM_CLOCK, Clock
from millrace_runtime.errors import ErrorCode, ServiceError
from millrace_runtime.service import PORTS, Endpoint, Service, serving
from millrace_testkit.ports import free_offset


class KnownKeys:
    """A `Verifier` of one key that may publish and one that may not."""

    async def check(self, api_key: str) -> Principal:
        scopes = {"publisher": {"lake:publish"}, "reader": {"lake:read"}}.get(api_key)
        if scopes is None:
            raise ServiceError(ErrorCode.INVALID_API_KEY, "the API key is not known")
        return Principal("k1", "demo", "user", frozenset(scopes), expires_at_ms=0, rate_limit=1000)


@dataclass(frozen=True)
class OpenDoor:
    """A door that is being served, and what it has written."""

    service: Service
    endpoint: Endpoint
    data: Path
    client: httpx.AsyncClient

    async def post(self, body: bytes, content_type: str = "application/json") -> httpx.Response:
        return await self.client.post("/webhook/wechat", content=body, headers={"content-type": content_type})

    async def health(self) -> tuple[int, dict[str, Any]]:
        answer = await self.client.get("/health")
        return answer.status_code, answer.json()

    def journal(self, name: str = "raw") -> list[bytes]:
        files = sorted((self.data / "messages" / name).glob("*.jsonl"))
        content = b"".join(file.read_bytes() for file in files)
        assert content == b"" or content.endswith(b"\n")
        return content.split(b"\n")[:-1]

    def rejected(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journal("rejected")]

    def metric(self, name: str) -> float:
        return self.service.registry.get_sample_value(name) or 0.0


def _free_endpoint() -> Endpoint:
    return PORTS["ingest-service"].on("127.0.0.1").shifted(free_offset())


@asynccontextmanager
async def _open_door(data: Path, clock: Clock = SYSTEM_CLOCK, **settings: Any) -> AsyncIterator[OpenDoor]:
    loaded = WebhookSettings.load(bus=f"journal:{data}", **settings)
    endpoint = _free_endpoint()
    async with (
        compose_webhook(loaded, verifier=KnownKeys(), clock=clock) as service,
        serving(service, endpoint),
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{endpoint.http_port}", timeout=30, trust_env=False
        ) as client,
    ):
        yield OpenDoor(service, endpoint, data, client)


@pytest.fixture
def open_door(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Opens a door on a data directory, in an environment without settings of ours."""
    for name in list(os.environ):
        if name.startswith("MILLRACE_"):
            monkeypatch.delenv(name)
    return _open_door


@pytest.fixture
async def door(tmp_path: Path, open_door: Any) -> AsyncIterator[OpenDoor]:
    async with open_door(tmp_path) as door:
        yield door


@pytest.fixture
def endpoint() -> Endpoint:
    """Three free ports."""
    return _free_endpoint()
