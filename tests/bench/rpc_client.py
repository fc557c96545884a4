"""Calls QueryService.Count over and over, IN_FLIGHT at a time over CHANNELS connections.

`python -m tests.bench.rpc_client PORT CALLS` waits until somebody serves there and prints JSON.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import grpc
from uvloop import run

from millrace.query.v1 import query_pb2 as pb
from millrace.query.v1 import query_pb2_grpc

CHANNELS, IN_FLIGHT = 4, 64
WARM_UP_CALLS = 2_000
KEY = (("x-api-key", "mk_benchmark_0123456789"),)


async def main() -> None:
    """Some calls that do not count, then all that do."""
    port, calls = int(sys.argv[1]), int(sys.argv[2])
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) for _ in range(CHANNELS)]
    for channel in channels:
        await asyncio.wait_for(channel.channel_ready(), 30)
    stubs: list[Any] = [query_pb2_grpc.QueryServiceStub(channel) for channel in channels]
    await _call_all(stubs, WARM_UP_CALLS)
    began = time.perf_counter()
    took = sorted(await _call_all(stubs, calls))
    seconds = time.perf_counter() - began
    for channel in channels:
        await channel.close()
    print(
        json.dumps(
            {
                "answered": len(took),
                "per_s": len(took) / seconds,
                "p99_ms": 1000 * took[len(took) * 99 // 100],
            }
        )
    )


async def _call_all(stubs: list[Any], calls: int) -> list[float]:
    """Seconds of each call that was answered as it should be."""
    took: list[float] = []
    numbers = iter(range(calls))
    async with asyncio.TaskGroup() as tasks:
        for lane in range(IN_FLIGHT):
            tasks.create_task(_lane(stubs[lane % len(stubs)], numbers, took))
    return took


async def _lane(stub: Any, numbers: Iterator[int], took: list[float]) -> None:
    request = pb.CountRequest(filter=pb.MessageFilter(start_date="2026-03-05", end_date="2026-03-05"))
    for _ in numbers:
        began = time.perf_counter()
        answer = await stub.Count(request, metadata=KEY, timeout=30)
        if answer.total == 1:
            took.append(time.perf_counter() - began)


if __name__ == "__main__":
    run(main())
