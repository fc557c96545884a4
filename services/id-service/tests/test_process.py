"""The process of its own: start, wrong settings, taken port, clean stop."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from millrace_testkit.ports import free_offset

COMMAND = [sys.executable, "-m", "id_service.processes.server"]


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
    return {
        **inherited,
        "MILLRACE_ID_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/ids.db",
        "MILLRACE_ID_SEED_DEMO": "1",
        "MILLRACE_AUTH_URL": "127.0.0.1:1",
        "MILLRACE_HOST": "127.0.0.1",
        **more,
    }


@asynccontextmanager
async def running(env: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(*COMMAND, env=env, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ready(base_url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(30):
        while True:
            try:
                if (await client.get(f"{base_url}/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


async def test_it_serves_cannot_check_keys_without_the_auth_service_and_stops_clean(tmp_path: Path) -> None:
    offset = free_offset()
    env = environment(tmp_path, MILLRACE_PORT_OFFSET=str(offset))
    async with running(env) as process:
        base_url = f"http://127.0.0.1:{8080 + offset}"
        await ready(base_url)
        async with httpx.AsyncClient(trust_env=False) as client:
            body = {"workspace": "demo", "group": "default", "biz_tag": "order-id"}
            answer = await client.post(
                f"{base_url}/api/v1/generate", json=body, headers={"X-API-Key": "some-key"}
            )
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "IDGEN-COMMON-0005"

        process.send_signal(signal.SIGTERM)
        _, stderr = await process.communicate()
        assert process.returncode == 0, stderr.decode()


async def test_a_taken_port_is_named_with_the_option_that_moves_it(tmp_path: Path) -> None:
    offset = free_offset()
    with socket.create_server(("127.0.0.1", 50051 + offset)):
        async with running(environment(tmp_path, MILLRACE_PORT_OFFSET=str(offset))) as process:
            _, stderr = await process.communicate()
    assert process.returncode == 1
    assert f"port {50051 + offset}" in stderr.decode()
    assert "MILLRACE_PORT_OFFSET" in stderr.decode()


async def test_missing_and_misspelt_settings_end_the_start_by_name(tmp_path: Path) -> None:
    missing = environment(tmp_path, MILLRACE_AUTH_URL="")
    misspelt = environment(tmp_path, MILLRACE_ID_SEED_DEM="1")
    for env, text in (
        (missing, "MILLRACE_AUTH_URL is not set"),
        (misspelt, "did you mean MILLRACE_ID_SEED_DEMO"),
    ):
        async with running(env) as process:
            _, stderr = await process.communicate()
        assert process.returncode == 78
        assert text in stderr.decode()
