"""`millrace status` over real servers: what waits in which journal and in which partition, also while nobody works."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from millrace_testkit.builders import message
from millrace_testkit.bus_progress import end_offsets, unrelayed
from millrace_testkit.load import OK, post_all
from millrace_testkit.ports import free_offset
from millrace_testkit.progress import read_door
from millrace_testkit.real import RealStack
from millrace_testkit.real_mode import RealInstallation
from millrace_testkit.relayed import read_topic
from millrace_testkit.stack import Stack, wait_until
from millrace_testkit.standalone import MILLRACE, environment

pytestmark = [pytest.mark.real, pytest.mark.slow]


def status(stack: RealInstallation, offset: int, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MILLRACE, "status", *options],
        env=environment(stack.data, offset) | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_lag_is_told_by_partition_while_a_process_is_down(tmp_path: Path, real_stack: RealStack) -> None:
    with Stack.real(tmp_path, real_stack) as stack:
        offset = free_offset()
        at = {"PORT_OFFSET": str(offset)}

        def told(name: str) -> dict[str, Any]:
            services = json.loads(status(stack, offset, "--json").stdout)["services"]
            found: dict[str, Any] = next(service for service in services if service["name"] == name)
            return found

        def post(first: int, count: int) -> None:
            bodies = [message(f"{first + number}") for number in range(count)]
            assert set(asyncio.run(post_all(door.endpoint.http_port, bodies))) == {OK}

        door = stack.door(**at).wait_ready()
        stack.relay(**at).wait_ready()
        writer = stack.lake_writer(**at).wait_ready()
        post(1_000, 100)
        stack.wait_landed()
        writer.stop()

        post(2_000, 250)
        wait_until(lambda: not unrelayed(stack.data), 30, "every line relayed")
        # What each partition got since, counted by another client and on the records' own numbers.
        since = Counter(r.partition for r in read_topic(stack.servers.kafka) if r.key >= b"2000")  # type: ignore[operator]
        ends = end_offsets(stack.servers.kafka, ["webhook.messages"])
        expected = {name: since[int(name.rpartition("/")[2])] for name in ends}
        wait_until(lambda: told("lake-writer")["partitions"] == expected, 30, "the lag of each partition")
        lake_writer = told("lake-writer")
        assert (lake_writer["state"], lake_writer["lag"]) == ("down", 250)
        shown = status(stack, offset)
        assert shown.returncode == 1
        for name, lag in expected.items():
            assert any(name in line and f" {lag} " in line for line in shown.stdout.splitlines())

        # The relay stands still: its own lag is in lines of a journal.
        today = max((stack.data / "messages" / "raw").glob("*.jsonl")).stem
        journal = f"{read_door(stack.data)}/{today}"
        stack.servers.kafka_server.pause()
        post(3_000, 7)
        wait_until(lambda: told("relay")["partitions"].get(journal) == 7, 30, "the lag of the journal")
        stack.servers.kafka_server.resume()

        stack.lake_writer(**at)
        stack.wait_landed()
        wait_until(lambda: told("lake-writer")["partitions"] == dict.fromkeys(ends, 0), 30, "no lag left")
        assert told("relay")["partitions"] == {journal: 0}
        stack.maintenance(**at).wait_ready()
        assert [
            name for name in ("relay", "lake-writer", "maintenance") if told(name)["state"] != "ready"
        ] == []
