"""The process of its own and the real HTTP server."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pyarrow as pa

from millrace_runtime.service import PORTS, Endpoint, Service, serving
from millrace_testkit.messages_lake import MessagesLake, message
from millrace_testkit.ports import free_offset

TODAY = {"start": "2026-03-14", "end": "2026-03-14"}


def free_endpoint() -> tuple[int, Endpoint]:
    """An offset at which the service's three ports are free, and where they are then."""
    offset = free_offset()
    return offset, PORTS["query-service"].on("127.0.0.1").shifted(offset)


async def until_ready(base_url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(30):
        while True:
            try:
                if (await client.get(f"{base_url}/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


async def test_it_starts_without_a_lake_cannot_check_keys_without_auth_and_stops_clean(
    tmp_path: Path,
) -> None:
    offset, endpoint = free_endpoint()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "query_service.processes.server",
        env={
            **inherited,
            "MILLRACE_LAKE": f"file://{tmp_path}/parquet",
            "MILLRACE_AUTH_URL": "127.0.0.1:1",
            "MILLRACE_HOST": "127.0.0.1",
            "MILLRACE_PORT_OFFSET": str(offset),
        },
        cwd=tmp_path,
        stderr=subprocess.PIPE,
    )
    try:
        management = f"http://127.0.0.1:{endpoint.management_port}"
        await until_ready(management)
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(
                f"http://127.0.0.1:{endpoint.http_port}/api/v1/messages",
                params=TODAY,
                headers={"X-API-Key": "some-key"},
            )
            metrics = (await client.get(f"{management}/metrics")).text
        process.send_signal(signal.SIGTERM)
        _, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "IDGEN-COMMON-0005"
    assert "millrace_query_newest_row_age_seconds NaN" in metrics
    assert process.returncode == 0
    assert b"lake_has_no_table_yet" in stderr
    assert os.listdir(tmp_path) == []  # nothing is left in the working directory  # noqa: PTH208


async def test_a_stream_over_the_real_server_and_a_client_that_goes_half_way(
    service: Service, lake: MessagesLake
) -> None:
    lake.append(*(message(n, content="字" * 5_000) for n in range(400)))
    _, endpoint = free_endpoint()
    url = f"http://127.0.0.1:{endpoint.http_port}/api/v1/messages"
    headers = {"X-API-Key": "reader", "Accept": "application/vnd.apache.arrow.stream"}
    async with serving(service, endpoint), httpx.AsyncClient(trust_env=False, headers=headers) as client:
        for _ in range(8):  # more than there are threads
            async with client.stream("GET", url, params=TODAY) as answer:
                await anext(answer.aiter_raw())
        whole = await client.get(url, params=TODAY)
    assert pa.ipc.open_stream(whole.content).read_all()["msg_id"].to_pylist() == [
        row["msg_id"] for row in lake.rows
    ]
