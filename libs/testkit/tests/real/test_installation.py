"""An installation over real servers: its processes find each other, and it starts empty."""

import asyncio
import itertools
from pathlib import Path

import pytest

from millrace_testkit.builders import traffic
from millrace_testkit.load import OK, post_all
from millrace_testkit.model import compare
from millrace_testkit.real import RealStack
from millrace_testkit.stack import Stack

pytestmark = pytest.mark.real

COUNT = 300


@pytest.mark.parametrize("time", ["first", "again"])
def test_what_two_doors_accept_is_in_the_lake(real_stack: RealStack, tmp_path: Path, time: str) -> None:
    bodies = list(itertools.islice(traffic(2), COUNT))
    with Stack.real(tmp_path, real_stack) as stack:
        doors = [stack.door(name).wait_ready() for name in (None, "second")]
        stack.lake_writer().wait_ready()
        for name, door in zip((None, "second"), doors, strict=True):
            stack.relay(name).wait_ready()
            assert asyncio.run(post_all(door.endpoint.http_port, bodies)) == [OK] * COUNT
        stack.wait_landed()
        journals = [stack.door_data(name) / "messages" / "raw" for name in (None, "second")]
        assert compare(stack.data, journals=journals) == []
