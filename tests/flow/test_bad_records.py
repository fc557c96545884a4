"""What a producer should not have put onto the topic: each record ends where it belongs, and none of the others is
held up or lost."""

from __future__ import annotations

import base64
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import Producer

from millrace.events.v1 import envelope_pb2
from millrace_testkit.builders import contact, message
from millrace_testkit.model import read_rows
from millrace_testkit.real import RealStack
from millrace_testkit.stack import Stack

pytestmark = pytest.mark.real

TOPIC = "webhook.messages"
PARTITIONS = 16
LARGE = 10_000_000
ACKNOWLEDGED_WITHIN_S = 60.0

GARBAGE = b"\x00\xfe\xffnothing that anybody knows"


def envelope(**values: object) -> bytes:
    """An Envelope as a producer sends it."""
    return envelope_pb2.Envelope(**values).SerializeToString()  # type: ignore[arg-type]


BAD: dict[str, bytes | None] = {
    "malformed": GARBAGE,
    "not_an_object": b"[1, 2]",
    "empty": b"",
    "tombstone": None,
    "unknown_content_type": envelope(content_type="application/vnd.millrace.envelope.v9", body=message("1")),
    "unknown_source": envelope(content_type="application/json", source="tomorrow", body=message("2")),
    "unreadable_reference": envelope(content_type="application/vnd.millrace.reference", body=b"bodies/none"),
    "missing_required_field": message("3", from_username=None),
}
"""Values by the reason that their dead letter gives."""


def test_bad_records_become_dead_letters_and_hold_up_nothing(tmp_path: Path, real_stack: RealStack) -> None:
    with Stack.real(tmp_path / "installation", real_stack) as stack:
        writer = stack.lake_writer().wait_ready()
        producer = Producer(
            {"bootstrap.servers": real_stack.kafka, "message.max.bytes": 2 * LARGE, "log_level": 0}
        )
        for partition in range(PARTITIONS):
            producer.produce(TOPIC, message(f"10{partition:02}"), partition=partition)
            for value in BAD.values():
                producer.produce(TOPIC, value, partition=partition)
            producer.produce(TOPIC, message(f"20{partition:02}"), partition=partition)
        producer.produce(TOPIC, message("3000", content="长" * (LARGE // 3)))
        # A key that is another record's, or none of ours; the row's own msg_id is what counts, once.
        producer.produce(TOPIC, message("4000"), key="1000", partition=0)
        producer.produce(TOPIC, message("4000"), key=b"\xff\xfe", partition=1)
        producer.produce(TOPIC, contact("wxid_a", "A"), key="4000", partition=2)
        # An origin that no relay writes is none.
        producer.produce(TOPIC, message("5000"), headers={"millrace-origin": b"\xffno/origin/1"}, partition=3)
        assert producer.flush(ACKNOWLEDGED_WITHIN_S) == 0
        stack.wait_landed()
        writer.wait_ready().stop()

        rows = {row["msg_id"]: row for row in read_rows(stack.data / "parquet" / "messages")}
        around = {f"{place}{partition:02}" for place in (10, 20) for partition in range(PARTITIONS)}
        assert rows.keys() == around | {"3000", "4000", "5000"}
        assert len(read_rows(stack.data / "parquet" / "messages")) == len(rows)
        assert len(rows["3000"]["content"]) == LARGE // 3
        assert rows["5000"]["src_file"] == TOPIC
        assert [row["username"] for row in read_rows(stack.data / "parquet" / "contacts")] == ["wxid_a"]
        dead = read_rows(stack.data / "parquet" / "dead_letters")
        assert Counter(row["reason"] for row in dead) == dict.fromkeys(BAD, PARTITIONS)
        for row in dead:
            body = (
                row["body"].encode() if row["body_base64"] is None else base64.b64decode(row["body_base64"])
            )
            assert body == (BAD[row["reason"]] or b"")
            origin = f"{row['src_door']}/{row['src_file']}/{row['src_line']}/{row['src_element']}"
            assert row["replay"] == f"millrace dead-letters replay {origin}"
