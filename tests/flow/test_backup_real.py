"""The same over real servers: the host is lost, and Kafka has survived, or is lost with it; or a door alone is lost."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest

from millrace_testkit.acknowledged import lost, lost_messages
from millrace_testkit.builders import message, other, traffic
from millrace_testkit.bus_progress import unrelayed
from millrace_testkit.load import OK, post_all
from millrace_testkit.model import compare
from millrace_testkit.progress import read_door
from millrace_testkit.real import RealStack
from millrace_testkit.real_mode import RealInstallation
from millrace_testkit.stack import Process, Stack, wait_until

from .test_backup import lines, millrace

pytestmark = [pytest.mark.real, pytest.mark.faults, pytest.mark.slow]

SMALL = {"LAND_MAX_ROWS": "100", "LAND_INTERVAL_S": "0.05"}
LARGE = {"RELAY_MAX_RECORD_BYTES": "4096"}
"""So that a body of 5,000 bytes goes by way of the objects."""


def post(door: Process, bodies: Sequence[bytes]) -> None:
    assert set(asyncio.run(post_all(door.endpoint.http_port, bodies, connections=4))) == {OK}


def test_a_host_is_lost_and_kafka_is_not_or_is_lost_too(tmp_path: Path, real_stack: RealStack) -> None:
    bodies = list(itertools.islice(traffic(21), 600))
    large = message("7304418832500000001", content="大" * 2_000)
    backup, seen = tmp_path / "backup", tmp_path / "seen"
    with Stack.real(tmp_path / "here", real_stack) as stack:
        door, relay = stack.door().wait_ready(), stack.relay(**LARGE)
        writer = stack.lake_writer(**SMALL)
        post(door, bodies[:200])
        stack.wait_landed()
        writer.kill()
        post(door, bodies[200:300])
        wait_until(lambda: not unrelayed(stack.data), 60, "what the lake does not hold relayed")
        millrace("backup", backup, "--data", stack.data)
        post(door, [*bodies[300:400], large])
        wait_until(lambda: not unrelayed(stack.data), 60, "every line relayed")
        relay.kill()
        shutil.copytree(stack.data / "messages" / "raw", seen)  # what Kafka has of it
        post(door, bodies[400:500])
        stack.end()
        former = read_door(stack.data)
        assert len(lines(seen)) > len(lines(backup / "messages" / "raw")) > 0

    # Kafka goes on: what it has had from the lost host and was not in the backup lands from there.
    with RealInstallation(tmp_path / "kept", real_stack, kept=True) as kept:
        start_restored(kept, backup)
        # The body of a line that is in no backup was lost with the objects: said, and its place can be filled.
        writer = kept.lake_writer(**SMALL)
        [path] = [wait_for_body(writer, former)]
        body = Path(kept.objects.removeprefix("file://")) / path
        body.parent.mkdir(parents=True, exist_ok=True)
        body.write_bytes(b"lost")
        journal = next(seen.glob("*.jsonl"))
        journal.write_bytes(journal.read_bytes().replace(large, b"lost"))
        tell_again(kept, bodies, [seen, kept.data / "messages" / "raw"])
        assert not lost([kept.data], bodies)

    # Kafka is lost as well: another topic of the same name, and all that there is comes from the backup.
    with Stack.real(tmp_path / "lost", real_stack) as anew:
        start_restored(anew, backup)
        anew.lake_writer(**SMALL)
        tell_again(anew, bodies, None)
        assert not lost(anew.data, bodies)


def start_restored(stack: RealInstallation, backup: Path) -> None:
    """Restore to the empty data directory."""
    millrace("restore", backup, "--data", stack.data)
    stack.relay(**LARGE)


def tell_again(stack: RealInstallation, bodies: Sequence[bytes], journals: list[Path] | None) -> None:
    """Senders repeat everything; then each row is as the journals have it."""
    post(stack.door().wait_ready(), bodies)
    stack.wait_landed()
    assert compare(stack.data, journals=journals) == []
    assert not lost_messages(stack.data, bodies)
    stack.end()


def wait_for_body(writer: Process, door: str) -> str:
    """The path of the body that the lake writer says it waits for."""
    url = f"http://127.0.0.1:{writer.endpoint.management_port}/ready"
    said = ""

    def waits() -> bool:
        nonlocal said
        try:
            with urllib.request.urlopen(url, timeout=5):
                return False
        except urllib.error.HTTPError as error:
            said = error.read().decode()
            return "cannot read the body" in said
        except OSError:
            return False

    wait_until(waits, 60, "the lake writer says that a body is missing")
    return next(word.rstrip(":") for word in said.split() if word.startswith(f"bodies/{door}/"))


def test_a_door_alone_is_lost_and_its_lines_are_not_taken_for_those_of_the_new_one(
    tmp_path: Path, real_stack: RealStack
) -> None:
    """Lines of the same numbers, the same content and the same length: nothing but the door tells them apart."""
    first = [other(1), message("1"), other(2)]
    beats = [other(0)] * 3
    since = [*beats, message("7304418832500000002", content="a" * 5_000)]
    later = [*beats, message("7304418832500000003", content="b" * 5_000)]
    backup = tmp_path / "backup"
    with Stack.real(tmp_path / "installation", real_stack) as stack:
        door, relay = stack.door("old").wait_ready(), stack.relay("old", **LARGE)
        asyncio.run(post_all(door.endpoint.http_port, first, connections=1))
        old = stack.door_data("old")
        millrace("backup", backup, "--data", old)
        asyncio.run(post_all(door.endpoint.http_port, since, connections=1))
        stack.lake_writer(**SMALL)
        stack.wait_landed()
        for process in (door, relay):
            process.kill()

        new = stack.door_data("new")
        millrace("restore", backup, "--data", new)
        door, _ = stack.door("new").wait_ready(), stack.relay("new", **LARGE)
        asyncio.run(post_all(door.endpoint.http_port, [*later, *first], connections=1))
        stack.wait_landed()
        assert read_door(new) != read_door(old)
        assert lines(new / "messages" / "former" / read_door(old)) == first
        assert compare(stack.data, journals=[old / "messages" / "raw", new / "messages" / "raw"]) == []
        assert not lost_messages(stack.data, [*first, *since, *later])
