"""Dead letters that came by Kafka land once under the origin of their line, and rows are traced to their offset."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from confluent_kafka import Producer

from ingest_service.letters.letter import LetterId, Selection
from ingest_service.letters.replay import replay
from ingest_service.proof.trace import trace
from millrace_testkit.builders import batch, data_of, message, other
from millrace_testkit.load import OK, post_all
from millrace_testkit.model import read_rows
from millrace_testkit.real import RealStack
from millrace_testkit.relayed import read_topic
from millrace_testkit.stack import Process, Stack

from .test_backup import millrace

pytestmark = pytest.mark.real

TOPIC = "webhook.messages"
T0 = 1_772_668_800


def post(door: Process, bodies: Sequence[bytes]) -> None:
    assert set(asyncio.run(post_all(door.endpoint.http_port, bodies, connections=1))) == {OK}


def test_letters_of_relayed_lines_and_of_a_producer(tmp_path: Path, real_stack: RealStack) -> None:
    with Stack.real(tmp_path, real_stack) as stack:
        door = stack.door().wait_ready()
        stack.relay()
        stack.lake_writer(LAND_INTERVAL_S="0.05")
        elements = batch(data_of("5", T0), data_of("6", 0))
        post(
            door, [message("1", create_time=0), message("2"), message("2"), elements, b'{"notify_type":1006}']
        )
        producer = Producer({"bootstrap.servers": real_stack.kafka})
        producer.produce(TOPIC, message("8", create_time=0), key=b"8")
        producer.produce(TOPIC, message("9"), key=b"9")
        assert producer.flush(30) == 0
        stack.wait_landed()

        def origins() -> dict[str, tuple[str, int, int]]:
            return {
                row["msg_id"]: (row["src_file"], row["src_line"], row["src_element"])
                for row in read_rows(stack.data / "parquet" / "messages")
            }

        places = stack.data / "parquet", stack.data / "messages" / "raw"
        mended = {1: message("1"), 4: batch(data_of("6", T0)), 5: other(7)}
        letters = read_rows(stack.data / "parquet" / "dead_letters")
        assert len(letters) == 4
        for row in letters:
            letter = LetterId(row["src_door"], row["src_file"], row["src_line"], row["src_element"])
            body = message("8") if letter.file == TOPIC else mended[letter.line]
            first = replay(Selection([letter]), *places, body=body)
            again = replay(Selection([letter]), *places, body=body)
            assert (first.landed, again.landed, again.already_landed) == (1, 0, 1)
        assert all(one["landed"] for one in millrace("dead-letters", "list", "--data", stack.data)["items"])
        # The lake writer goes on behind the replays: what comes again is a repeat, what is new lands.
        before = origins()
        assert {before[name][1:] for name in ("1", "2", "5", "6")} == {(1, 0), (2, 0), (4, 0), (4, 1)}
        assert before["8"][0] == TOPIC
        post(door, [message("10"), message("1")])
        stack.wait_landed()
        assert origins() == before | {"10": origins()["10"]}
        assert [row["src_line"] for row in read_rows(stack.data / "parquet" / "other")] == [5]

        records = read_topic(real_stack.kafka)
        second = next(one for one in records if one.value == message("2"))
        told = trace("2", *places)
        assert told.relayed is not None
        assert told.relayed.partition == second.partition
        assert told.relayed.first_offset is not None
        assert told.relayed.last_offset is not None
        assert told.relayed.first_offset <= second.offset <= told.relayed.last_offset
        assert told.landed is not None
        assert [one.line for one in told.repeats] == [3]
        ninth = next(one for one in records if one.value == message("9"))
        foreign = trace("9", *places)
        assert foreign.relayed is not None
        assert (foreign.relayed.partition, foreign.accepted) == (ninth.partition, None)
        assert foreign.relayed.first_offset == foreign.relayed.last_offset == ninth.offset
