"""What a journal line becomes on the bus, and that it means there what it meant in its line."""

import dataclasses
import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_service import envelopes
from ingest_service.land.batch import Batch, build
from ingest_service.land.refusal import Refused
from ingest_service.relay import records
from ingest_service.relay.records import records_of
from millrace_ports.bus.port import Chunk, Origin, Partition, Record
from millrace_testkit.builders import batch, contact, data_of, deletion, message, other, traffic

DOOR, DAY = "door-1", "2026-03-05"
PARTITION = Partition("webhook.messages", f"{DOOR}/{DAY}")
MOMENT_MS = 1_772_712_000_000
NOW_S = 1_772_800_000


def made(*lines: bytes, epoch: int = 0) -> list[Record]:
    return records_of([chunk(1, *lines)], {PARTITION: epoch}).records


def chunk(first: int, *lines: bytes) -> Chunk:
    end = first - 1 + len(lines)
    return Chunk(PARTITION, first - 1, end, lines, range(first, end + 1), [MOMENT_MS] * len(lines))


def origin(line: int, element: int = 0, day: str = DAY) -> Origin:
    return Origin(DOOR, day, line, element, MOMENT_MS)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (message("7304418825596013377"), b"7304418825596013377"),
        (message("é" * 64), "é".encode() * 64),
        (b'{"guid":"g","notify_type":1,"msg_id":12}', b"12"),
        (contact("wxid_1", "n"), b"wxid_1"),
        (deletion("wxid_1"), b"wxid_1"),
        (
            b'{"guid":"g","notify_type":1202,"data":{"userName":"","tpUsername":"\xe5\xbc\xa0"}}',
            "张".encode(),
        ),
        (batch(data_of("5", 1)), b"5"),
        (other(1), b"door-1/2026-03-05/1/0"),
        (batch(), b"door-1/2026-03-05/1/0"),
        (b"not json", b"door-1/2026-03-05/1/0"),
        (b'{"guid":"g","notify_type":1010,"data":{"msg_id":""}}', b"door-1/2026-03-05/1/0"),
    ],
)
def test_a_line_goes_out_as_it_is_under_its_key(line: bytes, key: bytes) -> None:
    assert made(line) == [Record(line, key, {}, origin(1))]


def test_a_long_id_is_keyed_by_its_hash() -> None:
    first, second = (record.key or b"" for record in made(message("é" * 65), message("é" * 66)))
    assert len(first) == len(second) == 32
    assert first != second


def test_ordinary_messages_are_not_parsed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(records, "parse_object")
    assert made(message("7304418825596013377"))[0].key == b"7304418825596013377"


def test_every_record_of_a_line_carries_its_trace_context() -> None:
    lines = [
        b"", message("1"), batch(data_of("2", 1), data_of("3", 1)), b"not json", b"", message("4"), message("5"),
    ]  # fmt: skip
    context = {line: f"00-{line:032x}-{line:016x}-01" for line in (5, 6, 7, 8, 11)}
    followed = [
        dataclasses.replace(
            part, traceparents={n: t for n, t in context.items() if part.start < n <= part.end}
        )
        for part in (chunk(4, *lines[:4]), chunk(8, *lines[4:]))
    ]
    plain = records_of([dataclasses.replace(part, traceparents=None) for part in followed], {PARTITION: 0})
    found = records_of(followed, {PARTITION: 0})
    assert [(r.origin.line, r.origin.element, r.headers) for r in found.records if r.origin] == [
        (5, 0, {"traceparent": context[5]}),
        (6, 0, {"traceparent": context[6]}),
        (6, 1, {"traceparent": context[6]}),
        (7, 0, {"traceparent": context[7]}),
        (9, 0, {}),
        (10, 0, {}),
    ]
    assert [msgspec.structs.replace(record, headers={}) for record in found.records] == plain.records


def test_what_stands_for_a_record_carries_its_trace_context_too() -> None:
    record = Record(b"{}", b"k", {"traceparent": "00-1-2-01"}, origin(1))
    for standing in (
        envelopes.reference(record, origin(1)),
        envelopes.refused(record, origin(1), Refused("bus_error", "refused_by_bus", "no")),
    ):
        assert standing.headers == {"traceparent": "00-1-2-01", "content-type": envelopes.ENVELOPE}


def test_blank_lines_are_left_out_and_counted() -> None:
    found = records_of([chunk(1, b"", message("1"), b" \t ", message("2"))], {PARTITION: 0})
    assert [record.origin for record in found.records] == [origin(2), origin(4)]
    assert found.blank == 2


def test_a_batch_becomes_a_record_for_each_element() -> None:
    line = batch(data_of("1", 1), {"no": "id"}, data_of("2", 1))
    found = made(message("0"), line)
    assert [record.origin for record in found] == [origin(1), origin(2, 0), origin(2, 1), origin(2, 2)]
    assert [record.key for record in found] == [b"0", b"1", b"door-1/2026-03-05/2/1", b"2"]
    whole = json.loads(line)
    for place, record in enumerate(found[1:]):
        assert json.loads(record.value) == whole | {"data": [whole["data"][place]]}


def test_an_element_keeps_numbers_surrogates_and_unknown_keys() -> None:
    line = (
        b'{"guid":"g","notify_type":1011,"more":{"n":18446744073709551617},'
        b'"data":[{"msg_id":1},{"msg_id":2,"text":"\\ud800","big":123456789012345678901234567890}]}'
    )
    second = made(line)[1].value
    assert json.loads(second) == json.loads(line) | {"data": [json.loads(line)["data"][1]]}
    assert b"\\ud800" in second


def test_a_batch_that_would_grow_too_much_stays_whole() -> None:
    rest = {"guid": "g", "notify_type": 1011, "more": "x" * 10_000}
    line = json.dumps(rest | {"data": [{"msg_id": n} for n in range(1000)]}).encode()
    assert made(line) == [Record(line, b"door-1/2026-03-05/1/0", {}, origin(1))]


def test_a_batch_that_is_nested_too_deeply_to_be_written_stays_whole() -> None:
    deep = b"[" * 980 + b"]" * 980
    line = b'{"guid":"g","notify_type":1011,"data":[{"msg_id":"1","deep":%b},{"msg_id":"2"}]}' % deep
    assert sum(len(record.value) for record in made(line)) >= len(line)


def test_the_epoch_of_a_replaced_journal_is_part_of_the_origin() -> None:
    found = made(other(1), epoch=2)
    assert found[0].origin == origin(1, day="2026-03-05#2")
    assert found[0].key == b"door-1/2026-03-05#2/1/0"


# Whatever comes, landing what was relayed gives the rows of landing the line.


def rows_of_lines(*lines: bytes) -> dict[str, Any]:
    return rows(build([chunk(1, *lines)], ingested_at_s=NOW_S))


def rows_of_records(*lines: bytes) -> dict[str, Any]:
    found = records_of([chunk(1, *lines)], {PARTITION: 0})
    sent = found.records
    kafka = Chunk(
        Partition(PARTITION.topic, "topic-id/0"),
        0,
        len(sent),
        [record.value for record in sent],
        range(1, len(sent) + 1),
        [MOMENT_MS] * len(sent),
        [record.origin for record in sent],
    )
    landed = rows(build([kafka], ingested_at_s=NOW_S))
    landed["lines"] += found.blank
    return landed


def rows(batch: Batch) -> dict[str, Any]:
    return {
        "messages": batch.messages.to_pylist(),
        "contacts": batch.contacts,
        "other": batch.other.table.to_pylist(),
        "dead": [
            (
                letter.place.door,
                letter.place.file,
                letter.place.line,
                letter.element,
                letter.body,
                letter.refused,
            )
            for letter in batch.dead_letters
        ],
        "lines": batch.counts.lines,
    }


def test_traffic_lands_alike() -> None:
    lines = [line.replace(b"\n", b" ") for line in itertools.islice(traffic(5), 600)]
    assert rows_of_records(*lines) == rows_of_lines(*lines)


texts = st.text(st.characters(), max_size=3)
anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**80), 2**80),
        st.floats(allow_nan=False, allow_infinity=False),
        texts,
        st.sampled_from(["1", "", "wxid"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
elements = st.one_of(
    anything,
    st.builds(
        lambda odd, known: data_of("1", 1) | odd | known,
        st.dictionaries(texts, anything, max_size=2),
        st.dictionaries(
            st.sampled_from(["msg_id", "create_time", "content", "source", "userName", "username"]),
            anything,
            max_size=2,
        ),
    ),
)
payloads = st.fixed_dictionaries(
    {},
    optional={
        "guid": st.one_of(st.just("g"), anything),
        "notify_type": st.one_of(
            st.sampled_from([1010, 1011, "1011", 1011.0, 1200, 1201, 1202, 7]), anything
        ),
        "data": st.one_of(st.lists(elements, max_size=4), elements),
        "msg_id": anything,
        "more": anything,
    },
)


@given(payloads)
def test_any_payload_lands_alike(payload: dict[str, Any]) -> None:
    line = json.dumps(payload).encode()
    assert rows_of_records(line) == rows_of_lines(line)


@given(st.one_of(st.binary(max_size=40), st.text(max_size=40).map(str.encode)))
def test_any_bytes_land_alike(line: bytes) -> None:
    line = line.replace(b"\n", b" ")
    assert rows_of_records(line) == rows_of_lines(line)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80))
def test_both_ways_give_the_same_key(msg_id: str) -> None:
    line = message(msg_id)
    same = line.replace(b'"notify_type": 1010', b'"notify_type": 1010.0')
    assert line != same
    assert made(line)[0].key == made(same)[0].key
