"""The whole sample through a door and its relay to Kafka: every record once, in order, under its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace_testkit.bus_progress import unrelayed
from millrace_testkit.load import OK, post_all
from millrace_testkit.model import compare
from millrace_testkit.real import RealStack
from millrace_testkit.relayed import Relayed, differences, read_topic, repeats
from millrace_testkit.stack import Stack, wait_until

pytestmark = [pytest.mark.real, pytest.mark.slow]


async def test_the_sample_is_on_kafka_as_it_came_in(
    tmp_path: Path, real_stack: RealStack, bodies: list[bytes]
) -> None:
    with Stack.real(tmp_path, real_stack) as stack:
        door, relay = stack.door().wait_ready(), stack.relay()
        assert set(await post_all(door.endpoint.http_port, bodies)) == {OK}
        wait_until(lambda: not unrelayed(stack.data), 60, "every line relayed")
        door.stop()
        relay.stop()

        records = read_topic(stack.servers.kafka)
        assert differences(records, stack.data) == []
        assert repeats(records) == 0
        assert all(_dated_as_received(record) for record in records)
        assert len({record.partition for record in records}) == 16

        # And the lake that is fed by them is the one that the journals would give.
        writer = stack.lake_writer()
        stack.wait_landed()
        writer.stop()
        assert compare(stack.data) == []


def _dated_as_received(record: Relayed) -> bool:
    return int(record.headers["millrace-origin"].rpartition(b"/")[2]) == record.timestamp_ms
