"""An installation is backed up in use, lost, restored elsewhere, and told again what it was told since: rows exact."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from millrace import Client
from millrace.installation import find_installation
from millrace_testkit.acknowledged import lost, lost_messages
from millrace_testkit.builders import traffic
from millrace_testkit.load import OK, SteadyLoad, post_all
from millrace_testkit.model import compare
from millrace_testkit.progress import read_door
from millrace_testkit.stack import Process, Stack
from millrace_testkit.standalone import MILLRACE, environment
from millrace_testkit.victims import EAGER, SMALL

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.slow]


def millrace(*arguments: str | Path, **settings: str) -> dict[str, Any]:
    """What the command prints as JSON when it has done its work."""
    done = subprocess.run(
        [MILLRACE, *map(str, arguments), "--json"],
        env=environment(Path("/nowhere"), 0)
        | {f"MILLRACE_{name}": value for name, value in settings.items()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def generated(data: Path, up: Process) -> int:
    """An id of the demo workspace, with the key that the data directory has."""
    with Client(installation=find_installation({}, data=data, port_offset=up.offset)) as client:
        return int(client.generate("order-id").id)


async def test_what_was_lost_with_the_host_comes_back_exactly(tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    with Stack.embedded(tmp_path / "here") as stack:
        up = stack.up(**SMALL, **EAGER).wait_ready()
        load = SteadyLoad(up.endpoint.http_port, traffic(7), per_s=250, connections=4)
        sending = asyncio.create_task(load.run())
        await asyncio.sleep(1.0)  # something is landed, something not yet
        taken = await asyncio.to_thread(millrace, "backup", backup, "--data", stack.data)
        at_backup = len(load.acknowledged)
        await asyncio.sleep(0.5)
        last_id = await asyncio.to_thread(generated, stack.data, up)
        up.kill()
        load.stop()
        await sending
        assert len(load.acknowledged) > at_backup > 0
        former = read_door(stack.data)
        assert taken["doors"] == {"messages/raw": former}
        before = lines(stack.data / "messages" / "raw")

    with Stack.embedded(tmp_path / "there") as restored:
        millrace("restore", backup, "--data", restored.data)
        kept = lines(restored.data / "messages" / "former" / former)
        assert before[: len(kept)] == kept
        assert 0 < len(kept) < len(before)
        assert not (restored.data / "metadata" / "key_index").exists()
        up = restored.up(**SMALL).wait_ready()
        # Senders know what was acknowledged since; that they repeat all of it and more must not matter.
        assert set(await post_all(up.endpoint.http_port, load.acknowledged, connections=4)) == {OK}
        await asyncio.to_thread(restored.wait_landed)
        assert await asyncio.to_thread(generated, restored.data, up) > last_id
        up.stop()
        assert read_door(restored.data) != former
        assert compare(restored.data) == []
        assert not lost(restored.data, load.acknowledged)
        assert not lost_messages(restored.data, load.acknowledged)


def lines(root: Path) -> list[bytes]:
    """All lines of a directory of journals."""
    return [line for file in sorted(root.glob("*.jsonl")) for line in file.read_bytes().splitlines()]
