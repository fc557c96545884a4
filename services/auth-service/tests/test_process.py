"""`python -m auth_service.processes.server` as an operator runs it."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import httpx
import pytest

from millrace_runtime.auth import GrpcVerifier
from millrace_runtime.service import PORTS, Endpoint
from millrace_testkit.ports import free_offset

START_TIMEOUT_S = 60


@pytest.fixture
def environment(data: Path) -> dict[str, str]:
    return {
        **os.environ,
        "MILLRACE_AUTH_DATABASE_URL": f"sqlite+aiosqlite:///{data}/metadata/auth.db",
        "MILLRACE_CREDENTIALS_FILE": f"{data}/credentials.json",
        "MILLRACE_HOST": "127.0.0.1",
        "MILLRACE_PORT_OFFSET": str(free_offset()),
    }


async def test_it_serves_all_three_ports_and_stops_on_sigterm(
    environment: dict[str, str], data: Path
) -> None:
    endpoint = PORTS["auth-service"].on("127.0.0.1").shifted(int(environment["MILLRACE_PORT_OFFSET"]))
    process = await _started(environment)
    try:
        line = await asyncio.wait_for(_line_with(process, "service_started"), START_TIMEOUT_S)
        assert json.loads(line)["http"] == endpoint.http_port
        await _require_serving(endpoint, data)
    finally:
        process.send_signal(signal.SIGTERM)
        _, rest = await asyncio.wait_for(process.communicate(), START_TIMEOUT_S)
    assert process.returncode == 0
    for text in _keys(data):
        assert text[-16:].encode() not in rest


async def test_a_missing_setting_is_named_and_gives_78(environment: dict[str, str]) -> None:
    del environment["MILLRACE_AUTH_DATABASE_URL"]
    process = await _started(environment)
    _, said = await asyncio.wait_for(process.communicate(), START_TIMEOUT_S)

    assert process.returncode == 78
    assert b"MILLRACE_AUTH_DATABASE_URL is not set" in said


async def _require_serving(endpoint: Endpoint, data: Path) -> None:
    admin_key, user_key = _keys(data)
    async with httpx.AsyncClient() as client:
        listed = await client.get(
            f"http://127.0.0.1:{endpoint.http_port}/api/v1/api-keys", headers={"X-API-Key": admin_key}
        )
        ready = await client.get(f"http://127.0.0.1:{endpoint.management_port}/ready")
    verifier = GrpcVerifier(f"127.0.0.1:{endpoint.grpc_port}")
    try:
        holder = await verifier.check(user_key)
    finally:
        await verifier.close()
    assert (listed.status_code, ready.status_code, holder.workspace) == (200, 200, "demo")


async def _started(environment: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "auth_service.processes.server", env=environment, stderr=asyncio.subprocess.PIPE
    )


async def _line_with(process: asyncio.subprocess.Process, event: str) -> str:
    assert process.stderr is not None
    async for line in process.stderr:
        if event in line.decode():
            return line.decode()
    raise AssertionError(f"the process ended without {event}")


def _keys(data: Path) -> tuple[str, str]:
    kept = json.loads((data / "credentials.json").read_text())
    return kept["admin_key"], kept["user_key"]
