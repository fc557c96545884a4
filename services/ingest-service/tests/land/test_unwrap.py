"""Envelopes on the bus: a payload inside, or elsewhere; and everything that only looks like one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingest_service.land.batch import Batch, build
from ingest_service.land.unwrap import unwrapper
from millrace.events.v1 import envelope_pb2
from millrace_ports.errors import StorageUnavailableError

from .conftest import DAY, NOW_S, Landing, message
from .kafka import Topic, foreign, relayed

REFERENCE = "application/vnd.millrace.reference"


def envelope(body: bytes, content_type: str = "application/json", **fields: Any) -> bytes:
    return envelope_pb2.Envelope(
        event_id="e", source=fields.pop("source", "wechat"), content_type=content_type, body=body, **fields
    ).SerializeToString()


def built(topic: Topic, objects: dict[str, bytes | Exception] | None = None) -> Batch:
    def read(path: str) -> bytes:
        found = (objects or {}).get(path, FileNotFoundError(path))
        if isinstance(found, Exception):
            raise found
        return found

    return build(list(topic.chunks(100)), ingested_at_s=NOW_S, unwrap=unwrapper(read))


def topic_of(*values: bytes, by_relay: bool = False) -> Topic:
    topic = Topic("topic-id", 1)
    topic.publish(relayed(values) if by_relay else foreign(*values))
    return topic


ORDINARY = json.dumps(message("1")).encode()
ODD = json.dumps(message("2", later={"n": 2**64})).encode()


def test_a_payload_in_an_envelope_lands_as_it_is() -> None:
    note = b'{"guid":"g","notify_type":1006,"data":{}}'
    values = [envelope(ORDINARY), envelope(ODD, "application/json; charset=utf-8", source=""), envelope(note)]
    batch = built(topic_of(*values))
    assert batch.messages.column("msg_id").to_pylist() == ["1", "2"]
    assert batch.messages.column("src_line").to_pylist() == [1, 2]
    assert batch.messages.column("extra_fields").to_pylist()[1] == '{"later":{"n":18446744073709551616}}'
    assert batch.other.table.column("payload").to_pylist() == [note.decode()]
    assert (batch.counts.lines, batch.counts.rejected) == (3, 0)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (envelope(ORDINARY, "application/x-protobuf"), "unknown_content_type"),
        (envelope(ORDINARY, ""), "unknown_content_type"),
        (envelope(ORDINARY, "application/vnd.millrace.refused"), "unknown_content_type"),
        (envelope(ORDINARY, source="telex"), "unknown_source"),
        (envelope(b""), "empty_body"),
        (envelope(b"not json"), "malformed"),
        (envelope(b"[1]"), "not_an_object"),
        (envelope(b"nowhere", REFERENCE), "unreadable_reference"),
        (envelope(b"../../etc/passwd", REFERENCE), "unreadable_reference"),
        (b"plain words", "malformed"),
        (b"B\x05hello", "malformed"),
        (b"\n\x03abc", "malformed"),
        (b'{"a":"\xff"}', "not_utf8"),
        (b"\xff\xfe\x00", "malformed"),
        (b"\x00" * 40, "malformed"),
    ],
)
def test_what_we_do_not_know_is_a_dead_letter_with_its_reason(value: bytes, reason: str) -> None:
    batch = built(topic_of(value), {"../../etc/passwd": ValueError("no path")})
    (letter,) = batch.dead_letters
    assert letter.refused.reason == reason
    assert letter.body in (value, b"not json", b"[1]")
    assert (batch.counts.lines, batch.counts.rejected) == (1, 1)


def test_a_large_body_is_read_where_the_relay_has_kept_it(landing: Landing) -> None:
    """The row is that of its journal line."""
    topic = topic_of(
        ORDINARY, envelope(b"bodies/door-1/2", REFERENCE), envelope(b"bodies/3", REFERENCE), by_relay=True
    )
    batch = built(topic, {"bodies/door-1/2": ODD, "bodies/3": b'{"cut":'})
    landing.land(ORDINARY, ODD, b'{"cut":')
    rows = landing.rows("messages")
    names = [name for name in rows[0] if name != "ingestion_time"]
    assert batch.messages.select(names).to_pylist() == [{name: row[name] for name in names} for row in rows]
    (letter,) = batch.dead_letters
    assert (letter.place.line, letter.body, letter.refused) == (
        3,
        b'{"cut":',
        landing.rejected[0].refused,
    )


def test_a_stranger_may_refer_to_a_body_that_is_there() -> None:
    batch = built(topic_of(envelope(b"bodies/1", REFERENCE)), {"bodies/1": ODD})
    assert batch.messages.column("msg_id").to_pylist() == ["2"]


@pytest.mark.parametrize(
    "trouble", [None, StorageUnavailableError("the disk is away"), ValueError("no path")]
)
def test_a_relayed_body_that_cannot_be_read_is_waited_for(trouble: Exception | None) -> None:
    """It is no dead letter: the relay has stored it before."""
    topic = topic_of(envelope(b"bodies/1", REFERENCE), by_relay=True)
    with pytest.raises(StorageUnavailableError) as raised:
        built(topic, {"bodies/1": trouble} if trouble else {})
    assert raised.value.retryable


def test_what_the_bus_refused_for_good_is_a_dead_letter_of_its_line() -> None:
    value = envelope(
        b"bodies/1", "application/vnd.millrace.refused",
        headers={"error-type": "bus_error", "reason": "refused_by_bus", "error-message": "too large"},
    )  # fmt: skip
    batch = built(topic_of(value, by_relay=True), {"bodies/1": ODD})
    (letter,) = batch.dead_letters
    assert (letter.body, letter.refused.error_type, letter.refused.reason) == (
        ODD,
        "bus_error",
        "refused_by_bus",
    )
    assert (letter.place.door, letter.place.file, letter.place.line) == ("door-1", "2026-03-14.jsonl", 1)


def test_a_line_of_a_journal_is_no_envelope(landing: Landing) -> None:
    """Whatever it looks like, it lands as the journal itself would have it."""
    value = envelope(ORDINARY)
    assert b"\n" in value
    single = value.replace(b"\n", b"\r")
    batch = built(topic_of(value, single, by_relay=True))
    assert [letter.body for letter in batch.dead_letters] == [value, single]
    chunk = landing.chunk([single], DAY)
    embedded = build([chunk], ingested_at_s=NOW_S, unwrap=unwrapper(lambda _: ODD))
    assert embedded.dead_letters[0].body == single
